/** Sizes and counts as people read them. */
import type { TranslationBundle } from '@jupyterlab/translation';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** A number of bytes, such as "1.5 MiB". */
export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(1)} ${UNITS[unit]}`;
}

/** How far a mount is behind its branch, in words; "" if that is not known. */
export function formatBehind(trans: TranslationBundle, behind: number): string {
  if (behind < 0) {
    return '';
  }
  return behind === 0 ? trans.__('up to date') : trans._n('%1 commit behind', '%1 commits behind', behind);
}

export const NATURAL = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });
