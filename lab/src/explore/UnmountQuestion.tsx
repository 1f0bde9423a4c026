import React from 'react';

import type { AtUnmount } from '../api';
import { Question } from '../common/Question';
import { unmountWith } from './actions';
import { menuButtonId, useHandedFocus } from './focus';
import type { IMountProps } from './MountFacts';

/** What shall become of the changes in a mount that is about to end. */
export function UnmountQuestion({ context, mount }: IMountProps): JSX.Element {
  const { explore, trans } = context;
  const form = useHandedFocus<HTMLDivElement>(menuButtonId(mount.name));
  const answer = (staged: AtUnmount) => {
    explore.closeForm(mount.name);
    void unmountWith(context, mount.name, staged);
  };
  return (
    <div ref={form}>
      <Question
        trans={trans}
        question={trans.__('Changes in %1 are not committed. What shall become of them?', mount.name)}
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
    </div>
  );
}
