import React, { useEffect, useRef } from 'react';
import { caretDownIcon, caretUpIcon } from '@jupyterlab/ui-components';

import { NATURAL } from '../common/text';
import type { IContext } from '../context';

/** Which repositories are listed, and in which order. */
export function RepoFilter({ model, explore, trans }: IContext): JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const focus = () => field.current?.focus();
    explore.searchWanted.connect(focus);
    return () => {
      explore.searchWanted.disconnect(focus);
    };
  }, [explore]);

  const known = new Set([...model.projects, ...model.repos.map(repo => repo.project), explore.project]);
  const projects = [...known].filter(Boolean).sort(NATURAL.compare);
  const Caret = explore.isDescending ? caretUpIcon : caretDownIcon;
  return (
    <div className="pach-RepoFilter">
      <select
        className="pach-Field-input"
        data-testid="ProjectList__select"
        aria-label={trans.__('Project')}
        value={explore.project}
        onChange={event => (explore.project = event.target.value)}
      >
        <option value="">{trans.__('All projects')}</option>
        {projects.map(project => (
          <option key={project} value={project}>
            {project}
          </option>
        ))}
      </select>
      <div className="pach-RepoFilter-line">
        <input
          ref={field}
          type="search"
          className="pach-Field-input"
          data-testid="Repos__search"
          aria-label={trans.__('Search repositories')}
          placeholder={trans.__('Search')}
          value={explore.search}
          onChange={event => (explore.search = event.target.value)}
        />
        <button
          type="button"
          className="pach-Button pach-Button-icon pach-RepoFilter-sort"
          data-testid="Repos__sort"
          aria-label={explore.isDescending ? trans.__('Name, descending') : trans.__('Name, ascending')}
          title={trans.__('Sort by name')}
          onClick={() => (explore.isDescending = !explore.isDescending)}
        >
          {trans.__('Name')}
          <Caret.react tag="span" />
        </button>
      </div>
    </div>
  );
}
