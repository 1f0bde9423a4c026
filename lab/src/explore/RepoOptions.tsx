import React, { useId } from 'react';

import type { IRepo } from '../api';
import { ActionButton } from '../common/ActionButton';
import { ErrorMessage } from '../common/Message';
import type { IContext } from '../context';
import { commitLabel, useCommits } from './commits';
import type { IChoice } from './RepoRow';
import { isWritable, repoKey } from './repos';

export interface IRepoOptionsProps {
  id: string;
  context: IContext;
  repo: IRepo;
  choice: IChoice;
  /** The name of the mount to be. */
  name: string;
  /** Why it cannot be mounted, "" if it can. */
  reason: string;
  isPending: boolean;
  onChange: (part: Partial<IChoice>) => void;
  onMount: () => void;
  onBrowse: () => void;
}

/** What else can be chosen for a mount, and browsing without one. */
export function RepoOptions(props: IRepoOptionsProps): JSX.Element {
  const { id, context, repo, choice, name, reason, isPending, onChange, onMount, onBrowse } = props;
  const { trans, model } = context;
  const { commits, error, isLoading } = useCommits(repo, choice.branch);
  const problem = useId();
  const hasPaths = model.state?.fuse.available ?? true;
  const mayWrite = isWritable(repo);
  return (
    <div
      id={id}
      role="group"
      aria-label={trans.__('Options of %1', repoKey(repo))}
      className="pach-Repo-options"
      data-testid="Repo__options"
    >
      <label className="pach-Field">
        <span className="pach-Field-label">{trans.__('Commit')}</span>
        <select
          className="pach-Field-input"
          data-testid="Repo__commit"
          aria-busy={isLoading}
          value={choice.commit}
          onChange={event => onChange(commitChosen(event.target.value))}
        >
          <option value="">{trans.__('newest of %1', choice.branch)}</option>
          {commits.map(commit => (
            <option key={commit.commit} value={commit.commit}>
              {commitLabel(trans, commit)}
            </option>
          ))}
        </select>
      </label>
      {error && <ErrorMessage trans={trans} error={error} testId="Repo__commitsError" />}
      {hasPaths && (
        <>
          <label className="pach-Field">
            <span className="pach-Field-label">{trans.__('Mount as')}</span>
            <input
              className="pach-Field-input"
              data-testid="Repo__name"
              spellCheck={false}
              aria-describedby={problem}
              value={name}
              onChange={event => onChange({ name: event.target.value })}
              onKeyDown={event => event.key === 'Enter' && reason === '' && onMount()}
            />
          </label>
          <label className="pach-Check">
            <input
              type="checkbox"
              data-testid="Repo__rw"
              checked={choice.isWritable}
              disabled={!mayWrite || choice.commit !== ''}
              onChange={event => onChange({ isWritable: event.target.checked, isFollowing: false })}
            />
            {mayWrite ? trans.__('Read-write') : trans.__('Read-write (you may not write here)')}
          </label>
          <label className="pach-Check">
            <input
              type="checkbox"
              data-testid="Repo__follow"
              checked={choice.isFollowing}
              disabled={choice.isWritable || choice.commit !== ''}
              onChange={event => onChange({ isFollowing: event.target.checked })}
            />
            {trans.__('Follow the branch')}
          </label>
        </>
      )}
      <p id={problem} role="status" className="pach-Repo-problem" data-testid="Repo__reason">
        {reason}
      </p>
      <div className="pach-Commit-actions">
        <ActionButton
          isAccept={hasPaths}
          testId="Repo__mount"
          disabled={isPending || reason !== ''}
          title={reason}
          onClick={onMount}
        >
          {trans.__('Mount')}
        </ActionButton>
        <ActionButton
          isAccept={!hasPaths}
          testId="Repo__browse"
          title={trans.__('Look at the files without a mount')}
          onClick={onBrowse}
        >
          {trans.__('Browse')}
        </ActionButton>
      </div>
    </div>
  );
}

/** A commit stays what it is: nothing to follow, nothing to write to. */
function commitChosen(commit: string): Partial<IChoice> {
  return commit ? { commit, isWritable: false, isFollowing: false } : { commit };
}
