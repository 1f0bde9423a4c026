import React, { useDeferredValue, useEffect, useMemo, useRef, useState } from 'react';
import { refreshIcon } from '@jupyterlab/ui-components';

import { ActionButton } from '../common/ActionButton';
import { ErrorMessage } from '../common/Message';
import { useSeen } from '../common/visible';
import { CommandIDs, type IContext } from '../context';
import { NoRepos } from './NoRepos';
import { RepoFilter } from './RepoFilter';
import { RepoRow } from './RepoRow';
import { repoKey, shownRepos } from './repos';

/** Rows that are shown at first, and added with each "Show more". */
export const PAGE = 100;

/** All repositories, those of a project, or those that are searched for; each can be mounted or browsed. */
export function RepoList(context: IContext): JSX.Element {
  const { model, explore, commands, trans } = context;
  const { repos, usable } = model;
  const { project, isDescending } = explore;
  const search = useDeferredValue(explore.search);
  const [number, setNumber] = useState(PAGE);
  const section = useRef<HTMLElement>(null);
  const list = useRef<HTMLUListElement>(null);
  const found = useMemo(
    () => shownRepos(repos, project, search, isDescending),
    [repos, project, search, isDescending]
  );
  useEffect(() => setNumber(PAGE), [project, search, isDescending]);
  useSeen(section, () => {
    if (usable) {
      void model.listRepos();
    }
  });

  const showMore = () => {
    const row = list.current?.children.length ?? 0;
    setNumber(number + PAGE);
    // once they are there, the keyboard goes on with the first new one
    requestAnimationFrame(() => list.current?.children[row]?.querySelector('button')?.focus());
  };

  return (
    <section ref={section} className="pach-Section" aria-labelledby="pach-repos-title">
      <div className="pach-Section-head">
        <h2 id="pach-repos-title" className="pach-Section-title">
          {repos.length > 0 ? trans.__('Repositories (%1)', repos.length) : trans.__('Repositories')}
        </h2>
        <ActionButton
          className="pach-Button pach-Button-icon"
          testId="Repos__refresh"
          aria-label={trans.__('Refresh the list of repositories')}
          title={trans.__('Refresh')}
          disabled={!usable}
          onClick={() => commands.execute(CommandIDs.refreshRepos)}
        >
          <refreshIcon.react tag="span" />
        </ActionButton>
      </div>
      {model.reposError && <ErrorMessage trans={trans} error={model.reposError} testId="Repos__error" />}
      {repos.length > 0 || model.projects.length > 1 ? <RepoFilter {...context} /> : null}
      <div role="status" className="pach-Section-note" data-testid="Repos__count">
        {search || project ? trans._n('%1 repository found', '%1 repositories found', found.length) : ''}
      </div>
      <NoRepos {...context} />
      <ul ref={list} className="pach-List" data-testid="Repos__list">
        {found.slice(0, number).map(repo => (
          <RepoRow key={repoKey(repo)} context={context} repo={repo} />
        ))}
      </ul>
      {found.length > number && (
        <button
          type="button"
          className="pach-LinkButton pach-Section-more"
          data-testid="Repos__more"
          onClick={showMore}
        >
          {trans.__('Show more (%1)', found.length - number)}
        </button>
      )}
    </section>
  );
}
