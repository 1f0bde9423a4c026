import React, { useState } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IChange } from '../api';
import { ActionButton } from '../common/ActionButton';
import { Question } from '../common/Question';
import { formatBytes } from '../common/text';
import { done } from './actions';
import type { IMountProps } from './MountFacts';
import { isBusy } from './mounts';

/** Changes that are shown at first, and added with each "Show more". */
const PAGE = 200;

export interface IChangeListProps extends IMountProps {
  changes: IChange[];
  /** Whether there are others, which cannot be committed. */
  hasRefused: boolean;
}

/** The changes in a mount, some of which or all can be given up; a question comes before that. */
export function ChangeList({ context, mount, changes, hasRefused }: IChangeListProps): JSX.Element {
  const { model, explore, trans } = context;
  const [number, setNumber] = useState(PAGE);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [isAsking, setAsking] = useState(false);
  const chosen = changes.filter(({ path }) => selected.has(path)).map(({ path }) => path);

  const toggle = (path: string) => {
    const next = new Set(selected);
    if (!next.delete(path)) {
      next.add(path);
    }
    setSelected(next);
  };
  const discard = async () => {
    setAsking(false);
    setSelected(new Set());
    if (await done(model.discard(mount.name, chosen))) {
      explore.notice = trans.__('Discarded changes in %1', mount.name);
    }
  };

  return (
    <>
      {changes.length === 0 && <p data-testid="Commit__nothing">{trans.__('There is nothing to commit.')}</p>}
      <ul className="pach-Changes" aria-label={trans.__('Changes')} data-testid="Commit__changes">
        {changes.slice(0, number).map(change => (
          <li key={change.path}>
            <label className="pach-Changes-change">
              <input
                type="checkbox"
                checked={selected.has(change.path)}
                onChange={() => toggle(change.path)}
              />
              <span
                className={`pach-Changes-kind jp-mod-${change.kind}`}
                title={kindText(trans, change.kind)}
                aria-label={kindText(trans, change.kind)}
                role="img"
              >
                {change.kind}
              </span>
              <span className="pach-Changes-path" title={pathText(trans, change)}>
                <bdi>{pathText(trans, change)}</bdi>
              </span>
              <span className="pach-Changes-size">
                {formatBytes(change.kind === 'D' ? change.old_size_bytes : change.size_bytes)}
              </span>
            </label>
          </li>
        ))}
      </ul>
      {changes.length > number && (
        <button type="button" className="pach-LinkButton" onClick={() => setNumber(number + PAGE)}>
          {trans.__('Show more (%1)', changes.length - number)}
        </button>
      )}
      {isAsking ? (
        <Question
          trans={trans}
          question={
            chosen.length > 0
              ? trans._n(
                  '%1 change is given up, and nothing brings it back. Discard it?',
                  '%1 changes are given up, and nothing brings them back. Discard them?',
                  chosen.length
                )
              : trans.__(
                  'All changes in %1 are given up, and nothing brings them back. Discard them?',
                  mount.name
                )
          }
          answers={[{ label: trans.__('Discard'), testId: 'Discard__yes', onClick: discard }]}
          onCancel={() => setAsking(false)}
          testId="Discard__question"
        />
      ) : changes.length > 0 || hasRefused ? (
        <ActionButton
          className="pach-LinkButton"
          testId="Commit__discard"
          disabled={isBusy(mount, model.pending)}
          onClick={() => setAsking(true)}
        >
          {chosen.length > 0
            ? trans._n('Discard %1 selected change…', 'Discard %1 selected changes…', chosen.length)
            : trans.__('Discard all…')}
        </ActionButton>
      ) : null}
    </>
  );
}

function kindText(trans: TranslationBundle, kind: IChange['kind']): string {
  return {
    A: trans.__('added'),
    M: trans.__('modified'),
    D: trans.__('deleted'),
    R: trans.__('renamed')
  }[kind];
}

function pathText(trans: TranslationBundle, { old_path, path }: IChange): string {
  return old_path ? trans.__('%1 → %2', old_path, path) : path;
}
