import React, { useEffect, useRef, useState } from 'react';
import { refreshIcon } from '@jupyterlab/ui-components';

import { ActionButton } from '../common/ActionButton';
import { ErrorMessage } from '../common/Message';
import type { ICommitOptions } from '../model';
import { commit } from './actions';
import { ChangeList } from './ChangeList';
import { ConflictQuestion } from './ConflictQuestion';
import { stagedPaths, useDifference } from './difference';
import { menuButtonId, useHandedFocus } from './focus';
import { LeftOut } from './LeftOut';
import type { IMountProps } from './MountFacts';
import { isBusy } from './mounts';

/** What was changed in a mount, and a message under which it is committed. Escape closes it. */
export function CommitForm({ context, mount }: IMountProps): JSX.Element {
  const { model, explore, trans } = context;
  const { difference, error, isLoading, again } = useDifference(model, mount);
  const [message, setMessage] = useState('');
  const [skipsInvalid, setSkipsInvalid] = useState(false);
  const [allowsOpen, setAllowsOpen] = useState(false);
  const form = useHandedFocus<HTMLDivElement>(menuButtonId(mount.name));
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => field.current?.focus(), []);

  const refused = difference?.refused ?? [];
  const open = difference?.open_for_writing ?? [];
  const isAllowed = (refused.length === 0 || skipsInvalid) && (open.length === 0 || allowsOpen);
  const canCommit =
    !!difference && difference.changes.length > 0 && isAllowed && !isBusy(mount, model.pending);
  const send = (more: ICommitOptions = {}) => {
    if (canCommit) {
      const options = { skip_invalid: skipsInvalid, allow_open: allowsOpen, ...more };
      void commit(context, mount.name, message, options);
    }
  };
  // that the branch is gone is a conflict as well, but not one of versions
  const isConflict = model.failures.get(mount.name)?.id === 'conflict' && mount.behind > 0;
  const close = () => {
    explore.closeForm(mount.name);
  };

  return (
    <div
      ref={form}
      role="group"
      aria-label={trans.__('Commit changes in %1', mount.name)}
      className="pach-Commit"
      data-testid="Commit__form"
      onKeyDown={event => event.key === 'Escape' && close()}
    >
      <label className="pach-Field">
        <span className="pach-Field-label">{trans.__('Message')}</span>
        <textarea
          ref={field}
          className="pach-Field-input"
          data-testid="Commit__message"
          rows={2}
          placeholder={trans.__('What was changed, and why')}
          value={message}
          onChange={event => setMessage(event.target.value)}
          onKeyDown={event => {
            if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
              send();
            }
          }}
        />
      </label>
      {error && <ErrorMessage trans={trans} error={error} testId="Commit__error" />}
      {isLoading && !difference && <p role="status">{trans.__('Looking for changes…')}</p>}
      {difference && (
        <>
          <ChangeList
            context={context}
            mount={mount}
            changes={difference.changes}
            hasRefused={refused.length > 0}
          />
          <LeftOut
            trans={trans}
            difference={difference}
            skipsInvalid={skipsInvalid}
            onSkipInvalid={setSkipsInvalid}
            allowsOpen={allowsOpen}
            onAllowOpen={setAllowsOpen}
          />
        </>
      )}
      {canCommit && difference && isConflict && (
        <ConflictQuestion
          trans={trans}
          onOurs={() => send({ ours: true })}
          onTheirs={() => send({ theirs: stagedPaths(difference) })}
          onCancel={() => model.dismiss(mount.name)}
        />
      )}
      <div className="pach-Commit-actions">
        <ActionButton
          isAccept
          testId="Commit__commit"
          disabled={!canCommit}
          title={trans.__('Commit to %1 (Ctrl+Enter)', `${mount.repo}@${mount.branch}`)}
          onClick={() => send()}
        >
          {trans.__('Commit')}
        </ActionButton>
        <ActionButton testId="Commit__close" onClick={close}>
          {trans.__('Close')}
        </ActionButton>
        <ActionButton
          className="pach-Button pach-Button-icon pach-Commit-again"
          testId="Commit__again"
          aria-label={trans.__('Look for changes again')}
          title={trans.__('Look for changes again')}
          onClick={again}
        >
          <refreshIcon.react tag="span" />
        </ActionButton>
      </div>
    </div>
  );
}
