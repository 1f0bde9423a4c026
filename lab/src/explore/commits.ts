import { useEffect, useState } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import { get, type ICommit, type IRepo, type RequestError } from '../api';
import { asRequestError } from '../model';

/** Commits that can be chosen from. */
const NUMBER = 50;
/** Characters of a description in a list. */
const DESCRIPTION = 40;

export interface IRecentCommits {
  commits: readonly ICommit[];
  error: RequestError | null;
  isLoading: boolean;
}

const NONE: IRecentCommits = { commits: [], error: null, isLoading: true };

/** The newest commits of a branch, asked for when it comes to be another one. */
export function useCommits({ project, repo }: IRepo, branch: string): IRecentCommits {
  const [recent, setRecent] = useState(NONE);
  useEffect(() => {
    const over = new AbortController();
    setRecent(NONE);
    get<ICommit[]>('commits', { project, repo, branch, number: NUMBER }, { signal: over.signal }).then(
      commits => {
        if (!over.signal.aborted) {
          setRecent({ commits, error: null, isLoading: false });
        }
      },
      error => {
        if (!over.signal.aborted) {
          setRecent({ commits: [], error: asRequestError(error), isLoading: false });
        }
      }
    );
    return () => over.abort();
  }, [project, repo, branch]);
  return recent;
}

/** A commit in a list: its id, when it was made, and what was said about it. */
export function commitLabel(trans: TranslationBundle, commit: ICommit): string {
  const id = commit.commit.slice(0, 8);
  const time = commit.finished ?? commit.started;
  const date =
    time === null
      ? ''
      : new Date(time * 1000).toLocaleString([], {
          year: 'numeric',
          month: 'short',
          day: 'numeric',
          hour: '2-digit',
          minute: '2-digit'
        });
  const about = commit.error || commit.description;
  const short = about.length > DESCRIPTION ? `${about.slice(0, DESCRIPTION)}…` : about;
  return short ? trans.__('%1 · %2 · %3', id, date, short) : trans.__('%1 · %2', id, date);
}
