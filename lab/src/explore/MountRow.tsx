import React from 'react';
import { ellipsesIcon } from '@jupyterlab/ui-components';

import type { IMountStatus } from '../api';
import { ActionButton } from '../common/ActionButton';
import { ErrorMessage } from '../common/Message';
import { CommandIDs, type IContext } from '../context';
import { CommitForm } from './CommitForm';
import { menuButtonId, MOUNTS_TITLE, useHandedFocus } from './focus';
import { MountFacts } from './MountFacts';
import { MountProgress } from './MountProgress';
import { isBusy, isReady, stateText } from './mounts';
import { RowFailure } from './RowFailure';
import { UnmountQuestion } from './UnmountQuestion';

export interface IMountRowProps {
  context: IContext;
  mount: IMountStatus;
  /** Opens the menu of a mount at a button. */
  menu: (name: string, button: HTMLElement) => void;
}

export function MountRow({ context, mount, menu }: IMountRowProps): JSX.Element {
  const { model, explore, commands, trans } = context;
  const row = useHandedFocus<HTMLLIElement>(MOUNTS_TITLE);
  const failure = model.failures.get(mount.name);
  const form = explore.form(mount.name);
  const args = { name: mount.name };
  const busy = isBusy(mount, model.pending);
  return (
    <li ref={row} className="pach-Mount" aria-busy={busy} data-testid={`Mount__${mount.name}`}>
      <div className="pach-Mount-head">
        <StateDot {...context} mount={mount} />
        <ActionButton
          className="pach-Mount-name"
          testId="ListItem__repo"
          title={mount.name}
          disabled={!isReady(mount) && mount.state !== 'committing'}
          onClick={() => commands.execute(CommandIDs.openMount, args)}
        >
          {mount.name}
        </ActionButton>

        <ActionButton
          testId="ListItem__unmount"
          aria-label={trans.__('Unmount %1', mount.name)}
          disabled={!commands.isEnabled(CommandIDs.unmount, args)}
          onClick={() => commands.execute(CommandIDs.unmount, args)}
        >
          {trans.__('Unmount')}
        </ActionButton>
        <button
          type="button"
          id={menuButtonId(mount.name)}
          className="pach-Button pach-Button-icon"
          data-testid="ListItem__menu"
          aria-haspopup="menu"
          aria-label={trans.__('More actions for %1', mount.name)}
          onClick={event => menu(mount.name, event.currentTarget)}
        >
          <ellipsesIcon.react tag="span" />
        </button>
      </div>
      <MountFacts context={context} mount={mount} />
      {mount.note && <p className="pach-Mount-note">{mount.note}</p>}
      {mount.error && (
        <ErrorMessage
          trans={trans}
          error={{ what: mount.error.error, why: mount.error.why, hint: mount.error.hint }}
          testId="ListItem__error"
        />
      )}
      <MountProgress context={context} mount={mount} />
      {failure && <RowFailure trans={trans} error={failure} onDismiss={() => model.dismiss(mount.name)} />}
      {form === 'commit' && mount.staged && <CommitForm context={context} mount={mount} />}
      {form === 'unmount' && <UnmountQuestion context={context} mount={mount} />}
    </li>
  );
}

/** The state as a dot; its title says more. Where it is not the usual one, words follow below. */
function StateDot({ trans, mount }: IContext & { mount: IMountStatus }): JSX.Element {
  const state = stateText(trans, mount.state);
  const text = mount.status ? trans.__('%1: %2', state, mount.status) : state;
  return (
    <span
      className="pach-Mount-state"
      data-testid="ListItem__status"
      title={text}
      role="img"
      aria-label={text}
    >
      <span className={`pach-Dot jp-mod-${mount.state || 'unknown'}`} data-testid="ListItem__statusIcon" />
    </span>
  );
}
