import React, { useId, useState } from 'react';
import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';

import type { IMountEntry, IRepo } from '../api';
import { ActionButton } from '../common/ActionButton';

import type { IContext } from '../context';
import { mountRepo } from './actions';
import { RepoOptions } from './RepoOptions';
import { RowFailure } from './RowFailure';
import { defaultBranch, defaultMountName, mountOf, nameProblem, repoKey, sortedBranches } from './repos';

/** How a repository is to be mounted; `name` is null until a person gives one. */
export interface IChoice {
  branch: string;
  commit: string;
  isWritable: boolean;
  isFollowing: boolean;
  name: string | null;
}

export interface IRepoProps {
  context: IContext;
  repo: IRepo;
}

export function RepoRow({ context, repo }: IRepoProps): JSX.Element {
  const { trans } = context;
  const branches = sortedBranches(repo);
  return (
    <li className="pach-Repo" data-testid={`Repo__${repoKey(repo)}`}>
      {repo.authorization === 'none' ? (
        <div className="pach-Repo-head">
          <RepoName repo={repo} />
          <span
            className="pach-Repo-reason pach-Repo-unauthorized"
            data-testid="ListItem__unauthorized"
            title={trans.__('You have no read access to this repository')}
          >
            {trans.__('No read access')}
          </span>
        </div>
      ) : branches.length === 0 ? (
        <div className="pach-Repo-head">
          <RepoName repo={repo} />
          <span
            className="pach-Repo-reason"
            data-testid="ListItem__noBranches"
            title={trans.__('A repository has files once it has a branch')}
          >
            {trans.__('No branches')}
          </span>
        </div>
      ) : (
        <MountableRepo context={context} repo={repo} branches={branches} />
      )}
    </li>
  );
}

function MountableRepo({ context, repo, branches }: IRepoProps & { branches: string[] }): JSX.Element {
  const { model, explore, shown, trans } = context;
  const options = useId();
  const [isOpen, setOpen] = useState(false);
  const [choice, setChoice] = useState<IChoice>({
    branch: '',
    commit: '',
    isWritable: false,
    isFollowing: false,
    name: null
  });
  const change = (part: Partial<IChoice>) => setChoice({ ...choice, ...part });

  // a branch may be deleted while it is chosen
  const branch = branches.includes(choice.branch) ? choice.branch : defaultBranch(branches);
  const name = choice.name ?? defaultMountName(repo, branch, choice.commit);
  const key = repoKey(repo);
  const isPending = model.pending.has(name);
  const reason = cannotMount(context, repo, branch, choice.commit, name);
  const hasPaths = model.state?.fuse.available ?? true;
  const attempt = explore.attempt(key);
  const failure = attempt === undefined ? undefined : model.failures.get(attempt);
  const isOnMount = model.mounts.some(mount => mount.name === attempt); // then it stands there

  const mount = async () => {
    const entry: IMountEntry = {
      name,
      project: repo.project,
      repo: repo.repo,
      branch,
      mode: choice.isWritable ? 'rw' : 'ro',
      ...(choice.commit ? { commit: choice.commit } : {}),
      ...(choice.isFollowing ? { follow: true } : {})
    };
    if (await mountRepo(context, repo, entry)) {
      setOpen(false);
      change({ name: null });
    }
  };
  const browse = () => {
    shown.directory = `@/${repo.project}/${repo.repo}/${choice.commit || branch}`;
  };
  const Caret = isOpen ? caretDownIcon : caretRightIcon;

  return (
    <>
      <div className="pach-Repo-head">
        <button
          type="button"
          className="pach-Button pach-Button-icon pach-Repo-caret"
          data-testid="ListItem__options"
          aria-expanded={isOpen}
          aria-controls={isOpen ? options : undefined}
          aria-label={trans.__('Options of %1', key)}
          onClick={() => setOpen(!isOpen)}
        >
          <Caret.react tag="span" />
        </button>
        <RepoName repo={repo} />
        <span className="pach-Repo-actions">
          <select
            className="pach-Field-input pach-Repo-branch"
            data-testid="ListItem__select"
            aria-label={trans.__('Branch of %1', key)}
            title={branch}
            value={branch}
            onChange={event => change({ branch: event.target.value, commit: '' })}
          >
            {branches.map(name => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
          {hasPaths ? (
            <ActionButton
              testId="ListItem__mount"
              aria-label={trans.__('Mount %1', key)}
              title={reason || trans.__('Mount as %1', name)}
              disabled={isPending || reason !== ''}
              aria-busy={isPending}
              onClick={mount}
            >
              {isPending ? trans.__('Mounting…') : trans.__('Mount')}
            </ActionButton>
          ) : (
            <ActionButton testId="ListItem__browse" aria-label={trans.__('Browse %1', key)} onClick={browse}>
              {trans.__('Browse')}
            </ActionButton>
          )}
        </span>
      </div>
      {isOpen && (
        <RepoOptions
          id={options}
          context={context}
          repo={repo}
          choice={{ ...choice, branch }}
          name={name}
          reason={reason}
          isPending={isPending}
          onChange={change}
          onMount={mount}
          onBrowse={browse}
        />
      )}
      {failure && attempt !== undefined && !isOnMount && (
        <RowFailure trans={trans} error={failure} onDismiss={() => model.dismiss(attempt)} />
      )}
    </>
  );
}

function RepoName({ repo }: { repo: IRepo }): JSX.Element {
  return (
    <span className="pach-Repo-name" title={repoKey(repo)}>
      <span className="pach-Repo-project">{`${repo.project}/`}</span>
      <span className="pach-Repo-repo">{repo.repo}</span>
    </span>
  );
}

/** Why it cannot be mounted, "" if it can. */
function cannotMount(
  { model, trans }: IContext,
  repo: IRepo,
  branch: string,
  commit: string,
  name: string
): string {
  const { fuse } = model.state ?? {};
  if (fuse && !fuse.available) {
    return trans.__('Nothing can be mounted here: %1', fuse.reason);
  }
  if (model.status?.datum) {
    return trans.__('The Test view shows datums now.');
  }
  const mount = mountOf(model.mounts, repo, branch, commit);
  return mount ? trans.__('Mounted as %1', mount.name) : nameProblem(trans, name, model.mounts);
}
