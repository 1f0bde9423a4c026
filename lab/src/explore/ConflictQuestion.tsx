import React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import { Question } from '../common/Question';

export interface IConflictQuestionProps {
  trans: TranslationBundle;
  onOurs: () => void;
  onTheirs: () => void;
  onCancel: () => void;
}

/** Whose versions to take, after a commit was refused because somebody else changed the same files. */
export function ConflictQuestion({ trans, onOurs, onTheirs, onCancel }: IConflictQuestionProps): JSX.Element {
  return (
    <Question
      trans={trans}
      question={trans.__(
        'Others changed the same files. Keep mine commits your versions in place of theirs. Take theirs gives up your versions of these files, which nothing brings back, and commits the rest.'
      )}
      answers={[
        { label: trans.__('Keep mine'), testId: 'Conflict__ours', onClick: onOurs },
        { label: trans.__('Take theirs'), testId: 'Conflict__theirs', onClick: onTheirs }
      ]}
      onCancel={onCancel}
      testId="Conflict__question"
    />
  );
}
