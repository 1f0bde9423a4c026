/**
 * MountModel: the polled state of the daemon and what can be done about it. Every view shows this and acts through it.
 */
import { JSONExt, type JSONValue } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { Signal, type ISignal } from '@lumino/signaling';

import {
  get,
  put,
  RequestError,
  type AtUnmount,
  type IDaemonStatus,
  type IDifference,
  type IMountEntry,
  type IMountStatus,
  type IProject,
  type IRepo,
  type IServerState,
  type Mode
} from './api';
import { DatumModel } from './datums/model';
import { repoKey } from './explore/repos';

/** Milliseconds between polls while the page is visible. */
export const POLL_INTERVAL = 2000;
/** Milliseconds between polls at most while they fail. */
export const MAX_POLL_INTERVAL = 30000;
/** Milliseconds for which a list of repositories is fresh, and after which one that failed is asked for again. */
export const REPOS_AGE = 30000;
export const REPOS_RETRY = 10000;

export interface ICommitOptions {
  /** Leave staged what cannot be committed. */
  skip_invalid?: boolean;
  /** Commit also files that are open for writing, as they are. */
  allow_open?: boolean;
  /** Commit over newer versions of the same files. */
  ours?: boolean;
  /** Where somebody changed one of these paths as well, or below, give up what is staged there. */
  theirs?: string[];
}

export class MountModel implements IDisposable {
  /** What the Test view shows. */
  readonly datums: DatumModel;

  constructor(options: { interval?: number; auto?: boolean } = {}) {
    this.datums = new DatumModel(this);
    this._poll = new Poll({
      name: 'pachmount-lab:state',
      auto: options.auto ?? true,
      factory: () => this._look(),
      frequency: { interval: options.interval ?? POLL_INTERVAL, backoff: true, max: MAX_POLL_INTERVAL },
      standby: 'when-hidden'
    });
  }

  /** Emitted when anything that the getters tell is another than before. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Emitted when the directories that mounts show may have another content. */
  get contentsChanged(): ISignal<this, void> {
    return this._contentsChanged;
  }

  /** What the last poll told; null before the first one. */
  get state(): IServerState | null {
    return this._state;
  }

  /** Why Jupyter's server itself does not answer, null while it does. */
  get lost(): RequestError | null {
    return this._lost;
  }

  get status(): IDaemonStatus | null {
    return this._state?.status ?? null;
  }

  get mounts(): readonly IMountStatus[] {
    return this.status?.mounts ?? [];
  }

  /** All repositories as they were listed last, and why they could not be listed. */
  get repos(): readonly IRepo[] {
    return this._repos;
  }

  get projects(): readonly string[] {
    return this._projects;
  }

  /** Whether the repositories were asked for and the answer is there, be it an error. */
  get hasListed(): boolean {
    return this._hasListed;
  }

  /** Whether they are being asked for. */
  get isListing(): boolean {
    return this._listings > 0;
  }

  get reposError(): RequestError | null {
    return this._reposError;
  }

  /** The sentence of the daemon why a mount could not be made or changed, by the name of the mount. */
  get failures(): ReadonlyMap<string, RequestError> {
    return this._failures;
  }

  /** The names of mounts with a request under way. */
  get pending(): ReadonlySet<string> {
    return this._pending;
  }

  /** Whether repositories can be listed: a daemon, a cluster, a login. */
  get usable(): boolean {
    const cluster = this.status?.cluster;
    return cluster !== undefined && cluster.state === 'connected' && cluster.auth !== 'logged-out';
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  dispose(): void {
    if (!this.isDisposed) {
      this._poll.dispose();
      this.datums.dispose();
      Signal.clearData(this);
    }
  }

  /** Poll now, and wait for the answer. */
  async refreshState(): Promise<void> {
    await this._poll.refresh();
    await this._poll.tick.catch(() => undefined); // a failure is in `lost`
  }

  /** List repositories and projects; those of a moment ago will do unless `force`. */
  async listRepos(force = false): Promise<void> {
    const age = Date.now() - this._reposListed;
    if (!force && age < (this._reposError ? REPOS_RETRY : REPOS_AGE)) {
      return;
    }
    this._reposListed = Date.now();
    this._lookedFor = new Set(this.mounts.map(repoKey));
    this._listings++;
    try {
      const [repos, projects] = await Promise.all([get<IRepo[]>('repos'), get<IProject[]>('projects')]);
      this._repos = repos;
      this._projects = projects.map(entry => entry.project.name);
      this._reposError = null;
    } catch (error) {
      this._reposError = asRequestError(error);
    }
    this._listings--;
    this._hasListed = true;
    this._changed.emit();
  }

  mount(entry: IMountEntry): Promise<void> {
    return this._change(entry.name, () => put('_mount', { mounts: [entry] }));
  }

  unmount(name: string, staged: AtUnmount = 'commit', message = ''): Promise<void> {
    return this._change(name, () => put('_unmount', { mounts: [name], staged, message }));
  }

  /** Move a mount to a commit, "" for the newest one of its branch. */
  refresh(name: string, commit = ''): Promise<void> {
    return this._change(name, () => put('_refresh', { mounts: [{ name, commit }] }));
  }

  follow(name: string, on: boolean): Promise<void> {
    return this._change(name, () => put('_follow', { mounts: [name], follow: on }));
  }

  remount(name: string, mode: Mode): Promise<void> {
    return this._change(name, () => put('_remount', { mounts: [name], mode }));
  }

  /** Commit what is staged in a mount; the id of the commit, "" if there was nothing to commit. */
  async commit(name: string, message: string, options: ICommitOptions = {}): Promise<string> {
    let commit = '';
    await this._change(name, async () => {
      commit = (await put<{ commit: string }>('_commit', { mount: name, message, ...options })).commit;
    });
    return commit;
  }

  discard(name: string, paths: string[] = []): Promise<void> {
    return this._change(name, () => put('_discard', { mount: name, paths }));
  }

  /** What a commit of a mount would change. */
  difference(name: string): Promise<IDifference> {
    return put<IDifference>('_diff', { mount: name, paths: [] });
  }

  warmUp(name: string, paths: string[] = []): Promise<void> {
    return this._change(name, () => put('_warmup', { mounts: [{ name, paths }] }));
  }

  cancelWarmup(id: string): Promise<void> {
    return this._change('', () => put('_warmup_cancel', { id }));
  }

  /** Start the daemon, or start it again. */
  async startDaemon(again = false): Promise<void> {
    try {
      await put(again ? 'daemon/_restart' : 'daemon/_start');
    } finally {
      await this.refreshState();
    }
  }

  /** Tell that a person looked at the failure of a mount. */
  dismiss(name: string): void {
    if (this._failures.delete(name)) {
      this._changed.emit();
    }
  }

  /** Do a request about the mount `name` ("" for none), note how it ends, and look what became of it. */
  private async _change(name: string, request: () => Promise<unknown>): Promise<void> {
    this._failures.delete(name);
    this._pending.add(name);
    this._changed.emit();
    try {
      await request();
    } catch (error) {
      this._failures.set(name, asRequestError(error));
      throw asRequestError(error);
    } finally {
      this._pending.delete(name);
      await this.refreshState();
      if (!this.isDisposed) {
        this._changed.emit();
        this._contentsChanged.emit();
      }
    }
  }

  private async _look(): Promise<void> {
    try {
      const state = await get<IServerState>('state');
      const same =
        this._lost === null &&
        JSONExt.deepEqual(state as unknown as JSONValue, this._state as unknown as JSONValue);
      const shown = shownContents(this._state);
      const wasUsable = this.usable;
      this._state = state;
      this._lost = null;
      if (this.usable) {
        this._keepRepos(wasUsable);
      }
      if (!same) {
        this._changed.emit();
      }
      if (shown !== shownContents(state)) {
        this._contentsChanged.emit();
      }
    } catch (error) {
      this._lost = asRequestError(error);
      this._changed.emit();
      throw error; // the poll backs off
    }
  }

  /** List repositories if the list is likely old: there is a mount of one that it lacks, it failed, or could not be. */
  private _keepRepos(wasUsable: boolean): void {
    const listed = new Set(this._repos.map(repoKey));
    const isMissing = (key: string) => !listed.has(key) && !this._lookedFor.has(key);
    const isCurrent = this._hasListed && !this._reposError;
    if (isCurrent && this.mounts.map(repoKey).some(isMissing)) {
      void this.listRepos(true);
    } else if (!isCurrent || !wasUsable) {
      void this.listRepos();
    }
  }

  private readonly _poll: Poll;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _contentsChanged = new Signal<this, void>(this);
  private readonly _failures = new Map<string, RequestError>();
  private readonly _pending = new Set<string>();
  private _state: IServerState | null = null;
  private _lost: RequestError | null = null;
  private _repos: IRepo[] = [];
  private _projects: string[] = [];
  private _reposListed = 0;
  private _hasListed = false;
  private _listings = 0;
  /** The repositories that had mounts when they were listed: one that is not among them then is gone. */
  private _lookedFor = new Set<string>();
  private _reposError: RequestError | null = null;
}

export function asRequestError(error: unknown): RequestError {
  return error instanceof RequestError ? error : new RequestError(0, 'unexpected', String(error), '', '');
}

/** What decides about the contents of the directories: which mounts there are, at which commit. */
function shownContents(state: IServerState | null): string {
  const status = state?.status;
  const mounts = (status?.mounts ?? []).map(mount => [mount.name, mount.state, mount.commit, mount.mode]);
  return JSON.stringify([mounts, status?.datum?.id ?? null]);
}
