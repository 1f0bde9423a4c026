import { useState } from 'react';

import type { RequestError } from '../api';
import { asRequestError } from '../model';

export interface ITask {
  /** Whether it is under way. */
  busy: boolean;
  /** Why it failed the last time. */
  error: RequestError | null;
  /** Do it; true if it went well. */
  run: (work: () => Promise<unknown>) => Promise<boolean>;
  forget: () => void;
}

/** Something that a button starts, and how it ends. */
export function useTask(): ITask {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<RequestError | null>(null);
  const run = async (work: () => Promise<unknown>) => {
    setBusy(true);
    setError(null);
    try {
      await work();
      return true;
    } catch (failure) {
      setError(asRequestError(failure));
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { busy, error, run, forget: () => setError(null) };
}
