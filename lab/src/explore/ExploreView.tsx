import React from 'react';

import { useSignal } from '../common/signal';
import type { IContext } from '../context';
import { MountList } from './MountList';
import { RepoList } from './RepoList';

/** What is mounted, and below it all repositories. */
export function ExploreView(context: IContext): JSX.Element {
  const { model, explore, trans } = context;
  useSignal(model.changed);
  useSignal(explore.changed);
  return (
    <section aria-label={trans.__('Explore')} className="pach-Explore">
      <MountList {...context} />
      <RepoList {...context} />
      <div role="status" className="pach-Explore-notice" data-testid="Explore__notice">
        {explore.notice}
      </div>
    </section>
  );
}
