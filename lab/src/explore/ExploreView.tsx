import React, { useEffect } from 'react';

import { useSignal } from '../common/signal';
import type { IContext } from '../context';
import { MountList } from './MountList';
import { RepoList } from './RepoList';

/** Milliseconds for which it is told what was done last. */
const NOTICE_TIME = 8000;

/** What is mounted, and below it all repositories. */
export function ExploreView(context: IContext): JSX.Element {
  const { model, explore, trans } = context;
  useSignal(model.changed);
  useSignal(explore.changed);
  const { notice } = explore;
  useEffect(() => {
    if (!notice) {
      return;
    }
    const timer = setTimeout(() => (explore.notice = ''), NOTICE_TIME);
    return () => clearTimeout(timer);
  }, [explore, notice]);
  return (
    <section aria-label={trans.__('Explore')} className="pach-Explore">
      <MountList {...context} />
      <RepoList {...context} />
      <div role="status" className="pach-Explore-notice" data-testid="Explore__notice">
        {notice}
      </div>
    </section>
  );
}
