import React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IMountStatus } from '../api';
import { stagedChanges } from '../common/staged';

/** Tells before datums are loaded what becomes of the mounts, and of changes that are not committed yet. */
export function Staged({
  trans,
  mounts
}: {
  trans: TranslationBundle;
  mounts: readonly IMountStatus[];
}): JSX.Element | null {
  const staged = mounts.filter(mount => stagedChanges(mount) > 0);
  if (mounts.length === 0) {
    return null;
  }
  if (staged.length === 0) {
    return (
      <p className="pach-Test-about">
        {trans.__('Meanwhile the mounts are away; they come back afterwards.')}
      </p>
    );
  }
  return (
    <div className="pach-Message jp-mod-warn" role="status" data-testid="Datum__staged">
      <div className="pach-Message-text">
        <span>
          {trans.__(
            'Meanwhile the mounts are away. These changes are not committed; they are kept and come back with them:'
          )}
        </span>
        <ul className="pach-Test-staged">
          {staged.map(mount => (
            <li key={mount.name}>
              {trans._n('%2: %1 change', '%2: %1 changes', stagedChanges(mount), mount.name)}
            </li>
          ))}
        </ul>
        <span>{trans.__('Files that a program has open for writing keep the datums away.')}</span>
      </div>
    </div>
  );
}
