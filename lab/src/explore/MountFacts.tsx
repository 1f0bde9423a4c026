import React from 'react';

import type { IMountStatus } from '../api';
import { ActionButton } from '../common/ActionButton';
import { formatBehind } from '../common/text';
import { CommandIDs, type IContext } from '../context';
import { fullSource, isReady, sourceLabel, stateText } from './mounts';

export interface IMountProps {
  context: IContext;
  mount: IMountStatus;
}

/** The second line of a row: state, mode, how far behind, whether it follows; with the buttons that belong to them. */
export function MountFacts({ context, mount }: IMountProps): JSX.Element {
  const { commands, trans } = context;
  const args = { name: mount.name };

  const canFollow = commands.isEnabled(CommandIDs.followBranch, args);
  return (
    <div className="pach-Mount-facts">
      <span className="pach-Mount-source" title={fullSource(mount)}>
        {sourceLabel(mount)}
      </span>
      {!isReady(mount) && <strong>{stateText(trans, mount.state)}</strong>}
      <span className="pach-Chip" data-testid="ListItem__mode" title={modeText(context, mount)}>
        {mount.mode}
      </span>
      {isReady(mount) && mount.branch && (
        <span
          className={`pach-Mount-behind${mount.behind > 0 ? ' jp-mod-behind' : ''}`}
          data-testid="ListItem__commitBehindness"
        >
          {formatBehind(trans, mount.behind)}
        </span>
      )}
      {mount.behind > 0 && !mount.follow && (
        <ActionButton
          testId="ListItem__update"
          aria-label={trans.__('Update %1 to the newest commit', mount.name)}
          disabled={!commands.isEnabled(CommandIDs.updateMount, args)}
          onClick={() => commands.execute(CommandIDs.updateMount, args)}
        >
          {trans.__('Update')}
        </ActionButton>
      )}
      {mount.mode === 'ro' && mount.branch && (
        <button
          type="button"
          role="switch"
          className="pach-Switch"
          data-testid="ListItem__follow"
          aria-checked={mount.follow}
          aria-disabled={!canFollow}
          aria-label={trans.__('%1 follows its branch', mount.name)}
          title={trans.__('Move along when the branch gets a new commit')}
          onClick={() => canFollow && commands.execute(CommandIDs.followBranch, args)}
        >
          <span className="pach-Switch-track" aria-hidden="true" />
          {trans.__('follow')}
        </button>
      )}
      {mount.mode === 'rw' && (
        <ActionButton
          testId="ListItem__commit"
          aria-label={trans.__('Commit changes in %1…', mount.name)}
          disabled={!commands.isEnabled(CommandIDs.commitMount, args)}
          onClick={() => commands.execute(CommandIDs.commitMount, args)}
        >
          {trans.__('Commit…')}
        </ActionButton>
      )}
    </div>
  );
}

function modeText({ trans }: IContext, mount: IMountStatus): string {
  return mount.mode === 'rw'
    ? trans.__('Read-write: files can be changed, and committed')
    : trans.__('Read-only');
}
