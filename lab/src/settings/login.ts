/** A login in a window of its own: Jupyter's server waits for its end, and the model tells of it. */
import { useEffect, useRef, useState } from 'react';

import type { RequestError } from '../api';
import { asRequestError, type MountModel } from '../model';
import { beginLogin } from './actions';

/** Milliseconds for which the button stays locked. */
const LOCKED = 2000;
/** Milliseconds after which the cluster has forgotten the login. */
const EXPIRES = 180000;
const SIDE = 500;

export interface ILoginState {
  /** Whether another login cannot begin yet. */
  locked: boolean;
  /** Where the login goes on, "" if none was begun. */
  url: string;
  /** Whether the browser showed no window. */
  blocked: boolean;
  expired: boolean;
  error: RequestError | null;
}

const NO_LOGIN: ILoginState = { locked: false, url: '', blocked: false, expired: false, error: null };

/** The state of a login, and what begins one: to be called by a click, as browsers allow windows only then. */
export function useLogin(model: MountModel): [ILoginState, () => Promise<void>] {
  const [state, setState] = useState(NO_LOGIN);
  const timers = useRef<number[]>([]);
  const clearTimers = () => timers.current.splice(0).forEach(timer => window.clearTimeout(timer));
  const later = (milliseconds: number, change: Partial<ILoginState>) =>
    timers.current.push(window.setTimeout(() => setState(last => ({ ...last, ...change })), milliseconds));
  useEffect(
    () => () => {
      clearTimers();
    },
    []
  );

  const begin = async () => {
    clearTimers();
    setState({ ...NO_LOGIN, locked: true });
    later(LOCKED, { locked: false });
    const opened = openWindow();
    try {
      const url = await beginLogin();
      if (opened && !opened.closed) {
        opened.location.href = url;
      }
      setState(last => ({ ...last, url, blocked: !opened }));
      later(EXPIRES, { url: '', expired: true });
      await model.refreshState(); // how the login before this one ended is of no interest any more
    } catch (error) {
      opened?.close();
      setState(last => ({ ...last, error: asRequestError(error) }));
    }
  };
  return [state, begin];
}

/** An empty window in the middle of ours, null if the browser forbids it. */
function openWindow(): Window | null {
  const left = window.screenX + Math.max(0, (window.outerWidth - SIDE) / 2);
  const top = window.screenY + Math.max(0, (window.outerHeight - SIDE) / 2);
  const opened = window.open('', '', `popup,width=${SIDE},height=${SIDE},left=${left},top=${top}`);
  if (opened) {
    opened.opener = null; // the page to come has no business here
  }
  return opened;
}
