import { useEffect, useReducer, useState } from 'react';

import type { IDifference, IMountStatus, RequestError } from '../api';
import { asRequestError, type MountModel } from '../model';

export interface ILoadedDifference {
  difference: IDifference | null;
  error: RequestError | null;
  isLoading: boolean;
}

/** All paths at which anything is staged, also what no commit has. */
export function stagedPaths(difference: IDifference): string[] {
  const { changes, refused, ignored, empty_directories } = difference;
  const former = changes.map(({ old_path }) => old_path).filter(path => path);
  const named = [...changes, ...refused].map(({ path }) => path);
  return [...named, ...former, ...ignored, ...empty_directories];
}

/**
 * What a commit would change: asked for again when the daemon tells of other new bytes, and by `again`, as it does not
 * tell of what is deleted.
 */
export function useDifference(
  model: MountModel,
  mount: IMountStatus
): ILoadedDifference & { again: () => void } {
  const [loaded, setLoaded] = useState<ILoadedDifference>({ difference: null, error: null, isLoading: true });
  const [number, again] = useReducer((count: number) => count + 1, 0);
  const { name, commit, staged } = mount;
  const [files, bytes] = [staged?.files ?? 0, staged?.bytes ?? 0];
  useEffect(() => {
    let isOld = false;
    setLoaded(before => ({ ...before, isLoading: true }));
    model.difference(name).then(
      difference => !isOld && setLoaded({ difference, error: null, isLoading: false }),
      error => !isOld && setLoaded({ difference: null, error: asRequestError(error), isLoading: false })
    );
    return () => {
      isOld = true;
    };
  }, [model, name, commit, files, bytes, number]);
  return { ...loaded, again };
}
