import React from 'react';

import type { AtUnmount } from '../api';
import { Question } from '../common/Question';
import { unmountWith } from './actions';
import type { IMountProps } from './MountFacts';
import { stagedFiles } from './mounts';

/** What shall become of the changes in a mount that is about to end. */
export function UnmountQuestion({ context, mount }: IMountProps): JSX.Element {
  const { explore, trans } = context;
  const answer = (staged: AtUnmount) => {
    explore.closeForm(mount.name);
    void unmountWith(context, mount.name, staged);
  };
  return (
    <Question
      trans={trans}
      question={trans._n(
        '%1 changed file in %2 is not committed. What shall become of it?',
        '%1 changed files in %2 are not committed. What shall become of them?',
        stagedFiles(mount),
        mount.name
      )}
      answers={[
        { label: trans.__('Commit'), testId: 'Unmount__commit', onClick: () => answer('commit') },
        {
          label: trans.__('Keep for the next mount'),
          testId: 'Unmount__keep',
          onClick: () => answer('keep')
        },
        { label: trans.__('Discard'), testId: 'Unmount__discard', onClick: () => answer('discard') }
      ]}
      onCancel={() => explore.closeForm(mount.name)}
      testId="Unmount__question"
    />
  );
}
