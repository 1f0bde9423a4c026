/** The list of repositories: which are shown, what they would be mounted as, and whether they can be. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IMountStatus, IRepo } from '../api';
import { NATURAL } from '../common/text';

export const MASTER = 'master';
/** Bytes of a mount name at most, as the daemon has it. */
const MAX_NAME = 255;

/** What identifies a repository; neither name may contain a slash. */
export function repoKey({ project, repo }: Pick<IRepo, 'project' | 'repo'>): string {
  return `${project}/${repo}`;
}

/** The repositories of `project` ("" for all) with every word of `search` in their names, by name. */
export function shownRepos(
  repos: readonly IRepo[],
  project: string,
  search: string,
  isDescending: boolean
): IRepo[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const sign = isDescending ? -1 : 1;
  return repos
    .filter(repo => !project || repo.project === project)
    .filter(repo => words.every(word => repoKey(repo).toLowerCase().includes(word)))
    .sort(
      (one, other) =>
        sign * (NATURAL.compare(one.project, other.project) || NATURAL.compare(one.repo, other.repo))
    );
}

export function sortedBranches(repo: IRepo): string[] {
  return [...(repo.branches ?? [])].sort(NATURAL.compare);
}

/** `master`, or else the first branch; "" if there is none. */
export function defaultBranch(branches: readonly string[]): string {
  return branches.includes(MASTER) ? MASTER : (branches[0] ?? '');
}

/** Names as the original has them: `<project>_<repo>`, and `_<branch>` unless that is master. */
export function defaultMountName(repo: IRepo, branch: string, commit = ''): string {
  const parts = [repo.project, repo.repo];
  if (branch !== MASTER) {
    parts.push(branch);
  }
  if (commit) {
    parts.push(commit.slice(0, 8));
  }
  return parts
    .join('_')
    .replace(/[^A-Za-z0-9_.-]/g, '_')
    .replace(/^-/, '_');
}

/** The mount that shows all of a branch of a repository, or of one of its commits. */
export function mountOf(
  mounts: readonly IMountStatus[],
  repo: IRepo,
  branch: string,
  commit = ''
): IMountStatus | undefined {
  return mounts.find(
    mount =>
      mount.project === repo.project &&
      mount.repo === repo.repo &&
      (commit ? mount.commit === commit : mount.branch === branch) &&
      (mount.path === '' || mount.path === '/')
  );
}

/** Why something cannot be mounted by that name, "" if it can. */
export function nameProblem(trans: TranslationBundle, name: string, mounts: readonly IMountStatus[]): string {
  if (!/^[A-Za-z0-9_.][A-Za-z0-9_.-]*$/.test(name) || name === '.' || name === '..') {
    return trans.__("Letters, digits, '_', '-' and '.' make a name; '-' is not the first.");
  }
  if (name.length > MAX_NAME) {
    return trans.__('The name is too long.');
  }
  if (name === 'out') {
    return trans.__("'out' is kept for the output of datums.");
  }
  return mounts.some(mount => mount.name === name) ? trans.__("'%1' is mounted already.", name) : '';
}

/** Whether a repository can be written to, as far as the cluster tells. */
export function isWritable({ authorization }: IRepo): boolean {
  return authorization === 'write' || authorization === 'off';
}
