import React from 'react';

import type { IContext } from '../context';

const EXAMPLE = 'pachmount import ./photos images';

/** Why there are no repositories in the list, and what to do about it. */
export function NoRepos({ model, trans }: IContext): JSX.Element | null {
  if (model.repos.length > 0 || model.reposError) {
    return null;
  }
  if (!model.usable) {
    return (
      <p className="pach-Section-note" data-testid="Repos__unusable">
        {trans.__('They are listed once a cluster is connected.')}
      </p>
    );
  }
  if (!model.hasListed || model.isListing) {
    return (
      <p role="status" className="pach-Section-note" data-testid="Repos__loading">
        {trans.__('Looking for repositories…')}
      </p>
    );
  }
  if (model.mounts.length > 0) {
    return (
      <p className="pach-Section-note" data-testid="Repos__hidden">
        {trans.__('The cluster does not list the repositories that are mounted.')}
      </p>
    );
  }
  return (
    <div className="pach-Section-note" data-testid="Repos__none">
      <p>{trans.__('This cluster has no repositories yet. A terminal makes one of a directory:')}</p>
      <pre className="pach-Section-code">{EXAMPLE}</pre>
    </div>
  );
}
