import React from 'react';

import { ErrorMessage } from '../common/Message';
import { ProgressLine } from '../common/ProgressLine';
import type { IMountProps } from './MountFacts';
import { done } from './actions';
import { commitProgress, warmupOf, warmupProgress } from './mounts';

/** How far the commit and the warm-up of a mount are, and why a warm-up failed. */
export function MountProgress({ context, mount }: IMountProps): JSX.Element {
  const { model, explore, trans } = context;
  const commit = commitProgress(trans, mount.staged);
  const warmup = warmupOf(model.status?.warmups ?? [], mount.name);
  const error = warmup?.state === 'failed' && !explore.dismissedWarmups.has(warmup.id) ? warmup.error : null;
  return (
    <>
      {commit && <ProgressLine {...commit} testId="ListItem__commitProgress" />}
      {warmup && warmup.state !== 'failed' && (
        <ProgressLine {...warmupProgress(trans, warmup)} testId="ListItem__warmup">
          <button
            type="button"
            className="pach-LinkButton"
            aria-label={trans.__('Cancel warming up %1', mount.name)}
            onClick={() => void done(model.cancelWarmup(warmup.id))}
          >
            {trans.__('Cancel')}
          </button>
        </ProgressLine>
      )}
      {warmup && error && (
        <ErrorMessage
          trans={trans}
          error={{ what: error.error, why: error.why, hint: error.hint }}
          onDismiss={() => explore.dismissWarmup(warmup.id)}
          testId="ListItem__warmupFailure"
        />
      )}
    </>
  );
}
