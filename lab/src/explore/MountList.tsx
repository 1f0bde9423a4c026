import React, { useEffect, useRef } from 'react';

import { ActionButton } from '../common/ActionButton';
import { ErrorMessage } from '../common/Message';
import { CommandIDs, type IContext } from '../context';
import { MOUNTS_TITLE } from './focus';
import { MountMenu } from './menu';
import { MountRow } from './MountRow';
import { isBehind, sortedMounts } from './mounts';

/** The mounts; while datums are shown there are none, and where to find those. */
export function MountList(context: IContext): JSX.Element {
  const { model, shown, commands, trans } = context;
  const mounts = sortedMounts(model.mounts);
  const menu = useMountMenu(context);
  const canUpdateAll = mounts.filter(isBehind).length > 1;
  return (
    <section className="pach-Section" aria-labelledby={MOUNTS_TITLE}>
      <div className="pach-Section-head">
        <h2 id={MOUNTS_TITLE} tabIndex={-1} className="pach-Section-title">
          {mounts.length > 0 ? trans.__('Mounted (%1)', mounts.length) : trans.__('Mounted')}
        </h2>
        {canUpdateAll && (
          <ActionButton
            disabled={!commands.isEnabled(CommandIDs.updateAll)}
            testId="Mounts__updateAll"
            onClick={() => commands.execute(CommandIDs.updateAll)}
          >
            {trans.__('Update All')}
          </ActionButton>
        )}
      </div>
      {model.status?.datum && (
        <div className="pach-Message" data-testid="Mounts__datums">
          <div className="pach-Message-text">
            <span>{trans.__('The Test view shows datums now. The mounts come back when it is left.')}</span>
            <button type="button" className="pach-LinkButton" onClick={() => (shown.view = 'test')}>
              {trans.__('Go to Test')}
            </button>
          </div>
        </div>
      )}
      <Orphans {...context} />
      {mounts.length > 0 ? (
        <ul className="pach-List" data-testid="Mounts__list">
          {mounts.map(mount => (
            <MountRow key={mount.name} context={context} mount={mount} menu={menu} />
          ))}
        </ul>
      ) : (
        model.status &&
        !model.status.datum && (
          <p className="pach-Section-note" data-testid="Mounts__none">
            {trans.__('Nothing is mounted yet. Choose a repository below.')}
          </p>
        )
      )}
    </section>
  );
}

/** Failures of what has no row, such as a mount by command. */
function Orphans({ model, explore, trans }: IContext): JSX.Element {
  const rows = new Set([...model.mounts.map(mount => mount.name), ...explore.attempts]);
  return (
    <>
      {[...model.failures]
        .filter(([name]) => !rows.has(name))
        .map(([name, error]) => (
          <ErrorMessage
            key={name}
            trans={trans}
            error={error}
            onDismiss={() => model.dismiss(name)}
            testId="Mounts__failure"
          />
        ))}
    </>
  );
}

function useMountMenu(context: IContext): (name: string, button: HTMLElement) => void {
  const menu = useRef<MountMenu | null>(null);
  useEffect(
    () => () => {
      menu.current?.dispose();
      menu.current = null;
    },
    []
  );
  return (name, button) => {
    menu.current ??= new MountMenu(context);
    menu.current.open(name, button);
  };
}
