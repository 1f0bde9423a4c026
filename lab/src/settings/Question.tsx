import React, { useEffect, useRef } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { AtUnmount } from '../api';

export interface IQuestionProps {
  trans: TranslationBundle;
  question: string;
  answers: { label: string; testId?: string; onClick: () => void }[];
  onCancel: () => void;
}

/** A question that comes up in its place, with a button for each answer. Escape is Cancel. */
export function Question({ trans, question, answers, onCancel }: IQuestionProps): JSX.Element {
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => element.current?.focus(), []);
  return (
    <div
      ref={element}
      role="group"
      aria-label={question}
      tabIndex={-1}
      className="pach-Message jp-mod-warn pach-Question"
      data-testid="Config__question"
      onKeyDown={event => event.key === 'Escape' && onCancel()}
    >
      <span>{question}</span>
      <div className="pach-Settings-actions">
        {answers.map(({ label, testId, onClick }) => (
          <button key={label} type="button" className="pach-Button" data-testid={testId} onClick={onClick}>
            {label}
          </button>
        ))}
        <button type="button" className="pach-Button" data-testid="Config__questionCancel" onClick={onCancel}>
          {trans.__('Cancel')}
        </button>
      </div>
    </div>
  );
}

export interface IStagedQuestionProps {
  trans: TranslationBundle;
  files: number;
  onAnswer: (staged: AtUnmount) => void;
  onCancel: () => void;
}

/** What shall become of changes that are staged in mounts which are about to end. */
export function StagedQuestion({ trans, files, onAnswer, onCancel }: IStagedQuestionProps): JSX.Element {
  return (
    <Question
      trans={trans}
      question={trans._n(
        'All mounts end, and %1 changed file is not committed. What shall become of it?',
        'All mounts end, and %1 changed files are not committed. What shall become of them?',
        files
      )}
      answers={[
        { label: trans.__('Commit'), testId: 'Config__stagedCommit', onClick: () => onAnswer('commit') },
        { label: trans.__('Keep here'), testId: 'Config__stagedKeep', onClick: () => onAnswer('keep') },
        { label: trans.__('Discard'), testId: 'Config__stagedDiscard', onClick: () => onAnswer('discard') }
      ]}
      onCancel={onCancel}
    />
  );
}
