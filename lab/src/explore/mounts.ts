/** What a row of a mount tells: its state and progress in words, and what can be done with it. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IMountStatus, IStagedStatus, IWarmupStatus } from '../api';
import { formatBytes, NATURAL } from '../common/text';

/** How far something is; `value` and `max` are null while nobody knows. */
export interface IProgress {
  text: string;
  value: number | null;
  max: number | null;
}

export function sortedMounts(mounts: readonly IMountStatus[]): IMountStatus[] {
  return [...mounts].sort((one, other) => NATURAL.compare(one.name, other.name));
}

/** Whether nothing can be asked of a mount for now. */
export function isBusy(mount: IMountStatus, pending: ReadonlySet<string>): boolean {
  return pending.has(mount.name) || ['mounting', 'unmounting', 'committing'].includes(mount.state);
}

export function isReady(mount: IMountStatus): boolean {
  return mount.state === 'mounted';
}

export function isBehind(mount: IMountStatus): boolean {
  return isReady(mount) && mount.behind > 0;
}

export function stateText(trans: TranslationBundle, state: string): string {
  switch (state) {
    case 'mounted':
      return trans.__('mounted');
    case 'mounting':
      return trans.__('mounting…');
    case 'unmounting':
      return trans.__('unmounting…');
    case 'committing':
      return trans.__('committing…');
    case 'error':
      return trans.__('error');
    default:
      return state; // a state of a newer daemon
  }
}

/** What a mount shows: a branch, or a commit that it stays at. */
export function sourceLabel(mount: IMountStatus): string {
  return `@ ${mount.branch || mount.commit.slice(0, 8)}${mount.path ? `:${mount.path}` : ''}`;
}

export function fullSource(mount: IMountStatus): string {
  const path = mount.path ? `:${mount.path}` : '';
  return `${mount.project}/${mount.repo}@${mount.branch || mount.commit}${path}`;
}

/** How far a commit is, null while there is none. */
export function commitProgress(trans: TranslationBundle, staged: IStagedStatus | null): IProgress | null {
  switch (staged?.committing) {
    case 'compare':
      return { text: trans.__('Comparing with the branch…'), value: null, max: null };
    case 'upload':
      return {
        text: trans.__(
          'Uploading: %1 of %2 files, %3 of %4',
          staged.committing_files,
          staged.committing_total_files,
          formatBytes(staged.committing_bytes),
          formatBytes(staged.committing_total_bytes)
        ),
        value: staged.committing_bytes,
        max: Math.max(staged.committing_total_bytes, 1)
      };
    case 'finish':
      return { text: trans.__('Finishing the commit…'), value: null, max: null };
    default:
      return null;
  }
}

/** The newest warm-up of a mount that runs or failed. */
export function warmupOf(warmups: readonly IWarmupStatus[], name: string): IWarmupStatus | null {
  const newest = warmups
    .filter(warmup => warmup.mounts.includes(name))
    .sort((one, other) => NATURAL.compare(other.id, one.id))[0];
  return newest && ['listing', 'fetching', 'failed'].includes(newest.state) ? newest : null;
}

export function warmupProgress(trans: TranslationBundle, warmup: IWarmupStatus): IProgress {
  if (warmup.state === 'listing') {
    return {
      text: trans._n('Warming up: %1 file found', 'Warming up: %1 files found', warmup.total_files),
      value: null,
      max: null
    };
  }
  return {
    text: trans.__(
      'Warming up: %1 of %2 files, %3 of %4',
      warmup.done_files,
      warmup.total_files,
      formatBytes(warmup.done_bytes),
      formatBytes(warmup.total_bytes)
    ),
    value: warmup.done_bytes,
    max: Math.max(warmup.total_bytes, 1)
  };
}
