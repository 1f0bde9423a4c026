/**
 * What is wrong, as conditions: each with words for a person, how bad it is, and what helps.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IErrorAnswer, IServerState, RequestError } from '../api';

/** The button that helps. */
export type Remedy = 'start' | 'restart' | 'login' | 'settings' | '';

export interface ICondition {
  kind: string;
  /** An error keeps the panel from working, a warning some of it, a hint nothing that must be. */
  severity: 'error' | 'warning' | 'hint';
  what: string;
  why: string;
  hint: string;
  remedy: Remedy;
  /** The text of the button. */
  label: string;
  /** Whether a single failed poll could tell of it, so that another one has to confirm it. */
  isFleeting: boolean;
}

/** Seconds before the end of a login from which on it is told. */
const LOGIN_NOTICE = 24 * 3600;

/**
 * All that is wrong, the worst first; what cannot be known because of something worse is left out.
 *
 * @param now seconds since the epoch
 */
export function conditionsOf(
  trans: TranslationBundle,
  state: IServerState | null,
  lost: RequestError | null,
  now: number
): ICondition[] {
  if (lost) {
    return [
      make('jupyter-lost', 'error', trans.__("Jupyter's server does not answer"), {
        why: lost.status === 0 ? lost.why : lost.message,
        hint: trans.__('The panel tries again by itself.'),
        isFleeting: true
      })
    ];
  }
  if (!state) {
    return [];
  }
  if (state.daemon !== 'running') {
    return [daemonCondition(trans, state)];
  }
  const cluster = clusterCondition(trans, state, now);
  return [...cluster, ...fuseCondition(trans, state), ...cacheCondition(trans, state)];
}

function daemonCondition(trans: TranslationBundle, state: IServerState): ICondition {
  const told = { why: sentence(state.error), hint: hintOf(trans, state.error) };
  switch (state.daemon) {
    case 'starting':
      return make('daemon-starting', 'warning', trans.__('The daemon is starting'), {
        ...told,
        isFleeting: true
      });
    case 'other-version':
      return make('daemon-other-version', 'error', trans.__('The daemon is of another version'), {
        ...told,
        ...(state.sidecar
          ? {
              hint: trans.__(
                'It runs in a container of its own; who administers this server has to update it.'
              )
            }
          : { remedy: 'restart', label: trans.__('Restart') })
      });
    case 'unreachable':
      return make('daemon-unreachable', 'error', trans.__('The daemon does not answer'), {
        ...told,
        ...(state.sidecar ? inSidecar(trans) : { remedy: 'restart', label: trans.__('Restart') }),
        isFleeting: true
      });
    case 'failed':
      return make('daemon-failed', 'error', trans.__('The daemon could not be started'), {
        ...told,
        ...(state.sidecar ? inSidecar(trans) : { remedy: 'start', label: trans.__('Retry') })
      });
    default:
      return make('daemon-stopped', 'error', trans.__('The daemon does not run'), {
        ...told,
        ...(state.sidecar ? inSidecar(trans) : { remedy: 'start', label: trans.__('Start') }),
        isFleeting: true
      });
  }
}

function inSidecar(trans: TranslationBundle): Partial<ICondition> {
  return {
    hint: trans.__('It runs in a container of its own; who administers this server has to start it.')
  };
}

function clusterCondition(trans: TranslationBundle, state: IServerState, now: number): ICondition[] {
  const cluster = state.status?.cluster;
  if (!cluster) {
    return [];
  }
  const login = { remedy: 'login', label: trans.__('Log in') } as const;
  if (cluster.state === 'none') {
    return [
      make('no-cluster', 'error', trans.__('No cluster is configured'), {
        why: trans.__('Its address is needed to list repositories.'),
        remedy: 'settings',
        label: trans.__('Settings')
      })
    ];
  }
  if (cluster.state === 'unreachable') {
    const since = cluster.unreachable_since;
    const what =
      since === null
        ? trans.__('The cluster %1 does not answer', cluster.address)
        : trans.__('The cluster %1 does not answer since %2', cluster.address, timeText(since, now));
    return [
      make('cluster-unreachable', 'error', what, {
        why: sentence(cluster.error),
        hint: hintOf(trans, cluster.error) || trans.__('What is in the cache can still be read.'),
        isFleeting: true
      })
    ];
  }
  const ends = cluster.login_expires;
  if (cluster.auth === 'logged-out') {
    const hasExpired = ends !== null && ends <= now;
    const what = hasExpired ? trans.__('The login has expired') : trans.__('Nobody is logged in');
    const failure = state.login?.state === 'failed' ? sentence(state.login.error) : '';
    const why = failure ? trans.__('The last login failed: %1', failure) : sentence(cluster.error);
    return [make('logged-out', 'error', what, { why, ...login })];
  }
  if (ends !== null && ends - now < LOGIN_NOTICE) {
    const what = trans.__('The login expires at %1', timeText(ends, now));
    return [make('login-expires', 'hint', what, login)];
  }
  return [];
}

function fuseCondition(trans: TranslationBundle, { fuse }: IServerState): ICondition[] {
  if (fuse.available) {
    return [];
  }
  return [
    make('no-fuse', 'hint', trans.__('No FUSE here: programs find no path to the data'), {
      why: fuse.reason,
      hint: trans.__('Browsing and downloading work without.'),
      remedy: 'settings',
      label: trans.__('Diagnostics')
    })
  ];
}

function cacheCondition(trans: TranslationBundle, { status }: IServerState): ICondition[] {
  if (!status?.cache.disabled_reason) {
    return [];
  }
  return [
    make('no-cache', 'hint', trans.__('The cache on the disk is off'), {
      why: status.cache.disabled_reason,
      hint: trans.__('Files are fetched from the cluster again and again until it works.')
    })
  ];
}

function make(
  kind: string,
  severity: ICondition['severity'],
  what: string,
  more: Partial<ICondition> = {}
): ICondition {
  return { kind, severity, what, why: '', hint: '', remedy: '', label: '', isFleeting: false, ...more };
}

function sentence(error: IErrorAnswer | null): string {
  if (!error) {
    return '';
  }
  return error.why ? `${error.error} — ${error.why}` : error.error;
}

/** What the daemon advises, mostly a command; "" if nothing. */
function hintOf(trans: TranslationBundle, error: IErrorAnswer | null): string {
  return error?.hint ? trans.__('Hint: %1', error.hint) : '';
}

/** A time of day, with the date if it is not today; both in seconds since the epoch. */
function timeText(time: number, now: number): string {
  const [date, today] = [new Date(time * 1000), new Date(now * 1000)];
  return date.toDateString() === today.toDateString()
    ? date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    : date.toLocaleString([], { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' });
}
