import React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { AtUnmount } from '../api';
import { Question } from '../common/Question';

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
      testId="Config__question"
    />
  );
}
