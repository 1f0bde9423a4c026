import type { IMountStatus } from '../api';

/** How many changes of a mount are not committed; 1 where something was only deleted or renamed. */
export function stagedChanges({ staged }: Pick<IMountStatus, 'staged'>): number {
  return staged === null ? 0 : Math.max(staged.files, staged.changed ? 1 : 0);
}
