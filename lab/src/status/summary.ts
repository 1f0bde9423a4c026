/** The state of the panel in a few words, for the status bar. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IMountStatus, IServerState, IStagedStatus, IWarmupStatus } from '../api';
import { stagedChanges } from '../common/staged';

export interface ISummary {
  text: string;
  /** A sentence for each part. */
  title: string;
}

/** Null while there is nothing to tell, such as before the daemon runs. */
export function summaryOf(trans: TranslationBundle, state: IServerState | null): ISummary | null {
  const status = state?.status;
  if (!status) {
    return null;
  }
  const { mounts, datum, warmups } = status;
  const main = datum
    ? trans.__('Pachyderm: datum %1 of %2', datum.idx + 1, datum.num_datums)
    : trans._n('Pachyderm: %1 mounted', 'Pachyderm: %1 mounted', mounts.length);
  const parts = [main, ...behind(trans, mounts), ...changed(trans, mounts)];
  return {
    text: [...parts, ...committing(trans, mounts), ...warming(trans, warmups)].join(' · '),
    title: trans.__('%1. Click to open the panel.', mounts.map(mount => mount.name).join(', ') || main)
  };
}

function behind(trans: TranslationBundle, mounts: IMountStatus[]): string[] {
  const number = mounts.filter(mount => mount.behind > 0).length;
  return number > 0 ? [trans._n('%1 behind', '%1 behind', number)] : [];
}

function changed(trans: TranslationBundle, mounts: IMountStatus[]): string[] {
  const files = mounts.reduce((sum, mount) => sum + stagedChanges(mount), 0);
  return files > 0 ? [trans._n('%1 changed file', '%1 changed files', files)] : [];
}

function committing(trans: TranslationBundle, mounts: IMountStatus[]): string[] {
  const running = mounts
    .map(mount => mount.staged)
    .filter((staged): staged is IStagedStatus => !!staged?.committing);
  if (running.length === 0) {
    return [];
  }
  const bytes = running.reduce((sum, staged) => sum + staged.committing_bytes, 0);
  const total = running.reduce((sum, staged) => sum + staged.committing_total_bytes, 0);
  return [total > 0 ? trans.__('committing %1', percent(bytes, total)) : trans.__('committing')];
}

function warming(trans: TranslationBundle, warmups: IWarmupStatus[]): string[] {
  const running = warmups.filter(({ state }) => state === 'listing' || state === 'fetching');
  if (running.length === 0) {
    return [];
  }
  const bytes = running.reduce((sum, warmup) => sum + warmup.done_bytes, 0);
  const total = running.reduce((sum, warmup) => sum + warmup.total_bytes, 0);
  const isKnown = total > 0 && running.every(({ state }) => state === 'fetching');
  return [isKnown ? trans.__('warming up %1', percent(bytes, total)) : trans.__('warming up')];
}

function percent(part: number, whole: number): string {
  return (part / whole).toLocaleString([], { style: 'percent' });
}
