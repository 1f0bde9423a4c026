import React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IDifference } from '../api';

export interface ILeftOutProps {
  trans: TranslationBundle;
  difference: IDifference;
  skipsInvalid: boolean;
  onSkipInvalid: (skip: boolean) => void;
  allowsOpen: boolean;
  onAllowOpen: (allow: boolean) => void;
}

/** Paths of a list at most; the rest is counted. */
const MAX_PATHS = 20;

/** What keeps a commit away, with a box to agree to, and what no commit has. */
export function LeftOut(props: ILeftOutProps): JSX.Element {
  const { trans, difference, skipsInvalid, onSkipInvalid, allowsOpen, onAllowOpen } = props;
  const { refused, open_for_writing, ignored, empty_directories } = difference;
  const local = [...ignored, ...empty_directories];
  return (
    <>
      {refused.length > 0 && (
        <div className="pach-Message jp-mod-error" data-testid="Commit__refused">
          <div className="pach-Message-text">
            <strong>{trans.__('These cannot be committed:')}</strong>
            <Paths
              trans={trans}
              paths={refused.map(({ path, reason }) => trans.__('%1 — %2', path, reason))}
            />
            <Box
              label={trans.__('Leave them out; they stay here')}
              checked={skipsInvalid}
              onChange={onSkipInvalid}
            />
          </div>
        </div>
      )}
      {open_for_writing.length > 0 && (
        <div className="pach-Message jp-mod-warn" data-testid="Commit__open">
          <div className="pach-Message-text">
            <strong>{trans.__('Programs have these open for writing:')}</strong>
            <Paths trans={trans} paths={open_for_writing} />
            <Box label={trans.__('Commit them as they are')} checked={allowsOpen} onChange={onAllowOpen} />
          </div>
        </div>
      )}
      {local.length > 0 && (
        <details className="pach-Commit-local" data-testid="Commit__local">
          <summary>{trans._n('%1 path stays local', '%1 paths stay local', local.length)}</summary>
          <Paths trans={trans} paths={local} />
        </details>
      )}
    </>
  );
}

function Paths({ trans, paths }: { trans: TranslationBundle; paths: string[] }): JSX.Element {
  const more = paths.length - MAX_PATHS;
  return (
    <ul className="pach-Commit-paths">
      {paths.slice(0, MAX_PATHS).map(path => (
        <li key={path}>{path}</li>
      ))}
      {more > 0 && <li>{trans._n('and %1 more', 'and %1 more', more)}</li>}
    </ul>
  );
}

interface IBoxProps {
  label: string;
  checked: boolean;
  onChange: (checked: boolean) => void;
}

function Box({ label, checked, onChange }: IBoxProps): JSX.Element {
  return (
    <label className="pach-Check">
      <input type="checkbox" checked={checked} onChange={event => onChange(event.target.checked)} />
      {label}
    </label>
  );
}
