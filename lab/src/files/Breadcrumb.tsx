import React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import { crumbs, DRIVE } from './path';

/** Directories that are shown beside the root; those in between hide behind an ellipsis. */
const SHOWN = 2;

export interface IBreadcrumbProps {
  trans: TranslationBundle;
  path: string;
  onEnter: (path: string) => void;
}

/** The way to the directory that is shown: "/ pfs / images / …". */
export function Breadcrumb({ trans, path, onEnter }: IBreadcrumbProps): JSX.Element {
  const all = crumbs(path);
  const last = all.slice(-SHOWN);
  const hidden = all.slice(0, -SHOWN);
  return (
    <nav aria-label={trans.__('Directory')} className="pach-Files-crumbs">
      <ol>
        <li>
          <Crumb
            name={DRIVE}
            title={trans.__('All mounts')}
            isHere={path === ''}
            onClick={() => onEnter('')}
          />
        </li>
        {hidden.length > 0 && (
          <li>
            <Crumb
              name="…"
              title={`/ ${DRIVE} / ${hidden.map(crumb => crumb.name).join(' / ')}`}
              label={trans.__('Up to %1', hidden[hidden.length - 1].name)}
              isHere={false}
              onClick={() => onEnter(hidden[hidden.length - 1].path)}
            />
          </li>
        )}
        {last.map(crumb => (
          <li key={crumb.path}>
            <Crumb
              name={crumb.name}
              title={crumb.name}
              isHere={crumb.path === path}
              onClick={() => onEnter(crumb.path)}
            />
          </li>
        ))}
      </ol>
    </nav>
  );
}

interface ICrumbProps {
  name: string;
  title: string;
  label?: string;
  isHere: boolean;
  onClick: () => void;
}

function Crumb({ name, title, label, isHere, onClick }: ICrumbProps): JSX.Element {
  return (
    <button
      type="button"
      className="pach-Files-crumb"
      title={title}
      aria-label={label}
      aria-current={isHere ? 'location' : undefined}
      onClick={onClick}
    >
      {name}
    </button>
  );
}
