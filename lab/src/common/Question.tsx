import React, { useEffect, useRef } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

export interface IQuestionProps {
  trans: TranslationBundle;
  question: string;
  answers: { label: string; testId?: string; onClick: () => void }[];
  onCancel: () => void;
  testId: string;
}

/** A question that comes up in its place, with a button for each answer. Escape is Cancel. */
export function Question({ trans, question, answers, onCancel, testId }: IQuestionProps): JSX.Element {
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => element.current?.focus(), []);
  return (
    <div
      ref={element}
      role="group"
      aria-label={question}
      tabIndex={-1}
      className="pach-Message jp-mod-warn pach-Question"
      data-testid={testId}
      onKeyDown={event => {
        if (event.key === 'Escape') {
          event.stopPropagation(); // it would close the form around as well
          onCancel();
        }
      }}
    >
      <span>{question}</span>
      <div className="pach-Question-answers">
        {answers.map(({ label, testId, onClick }) => (
          <button key={label} type="button" className="pach-Button" data-testid={testId} onClick={onClick}>
            {label}
          </button>
        ))}
        <button type="button" className="pach-Button" data-testid={`${testId}Cancel`} onClick={onCancel}>
          {trans.__('Cancel')}
        </button>
      </div>
    </div>
  );
}
