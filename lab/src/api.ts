/**
 * The server half's routes as typed calls, and the types of its answers: the only place that fetches anything.
 */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

export type Mode = 'ro' | 'rw';
export type AtUnmount = 'commit' | 'discard' | 'keep';

/** What failed, why (may be ""), and what to do about it (may be ""); `id` is for programs. */
export interface IErrorAnswer {
  id: string;
  error: string;
  why: string;
  hint: string;
}

export interface IStagedStatus {
  /** Whether anything is staged at all; what was only deleted or renamed does not count in `files`. */
  changed?: boolean;
  files: number;
  bytes: number;
  limit: number;
  committing: '' | 'compare' | 'upload' | 'finish';
  committing_files: number;
  committing_total_files: number;
  committing_bytes: number;
  committing_total_bytes: number;
}

export interface IMountStatus {
  name: string;
  source: string;
  mountpoint: string;
  mode: Mode;
  state: string;
  status: string;
  error: IErrorAnswer | null;
  project: string;
  repo: string;
  branch: string;
  commit: string;
  path: string;
  latest_commit: string;
  behind: number;
  follow: boolean;
  note: string;
  listing: 'loading' | 'complete' | 'failed';
  files: number;
  staged: IStagedStatus | null;
}

export interface IClusterStatus {
  state: 'connected' | 'unreachable' | 'none';
  address: string;
  embedded: boolean;
  context: string;
  version: string;
  auth: 'off' | 'logged-in' | 'logged-out' | 'unknown';
  username: string;
  login_expires: number | null;
  unreachable_since: number | null;
  error: IErrorAnswer | null;
}

export interface ICacheStatus {
  directory: string;
  disk_bytes: number;
  disk_limit: number;
  memory_bytes: number;
  memory_limit: number;
  streams: number;
  streams_limit: number;
  fetched_bytes: number;
  disabled_reason: string;
}

export interface IWarmupStatus {
  id: string;
  mounts: string[];
  state: 'listing' | 'fetching' | 'done' | 'failed' | 'cancelled';
  total_files: number;
  total_bytes: number;
  done_files: number;
  done_bytes: number;
  error: IErrorAnswer | null;
}

export interface IDatumFile {
  input: string;
  project: string;
  repo: string;
  branch: string;
  commit: string;
  path: string;
  type: 'file' | 'dir';
  size_bytes: number;
  hash: string;
}

export interface IDatumStatus {
  id: string;
  idx: number;
  num_datums: number;
  received: number;
  matched: number;
  all_datums_received: boolean;
  error: IErrorAnswer | null;
  input: object;
  out: string;
  files: IDatumFile[];
}

export interface IDaemonStatus {
  version: string;
  pid: number;
  started: number;
  mount_dir: string;
  socket: string;
  listen: string;
  log_file: string;
  rss_bytes: number;
  cluster: IClusterStatus;
  cache: ICacheStatus;
  mounts: IMountStatus[];
  datum: IDatumStatus | null;
  warmups: IWarmupStatus[];
}

export type DaemonState = 'running' | 'starting' | 'stopped' | 'failed' | 'unreachable' | 'other-version';

/** What one poll tells: the daemon, and through it the cluster and the mounts. */
export interface IServerState {
  daemon: DaemonState;
  error: IErrorAnswer | null;
  sidecar: boolean;
  mount_dir: string;
  fuse: { available: boolean; reason: string };
  contents: { root: string | null };
  version: string;
  status: IDaemonStatus | null;
}

export type Authorization = 'off' | 'none' | 'read' | 'write';

export interface IRepo {
  project: string;
  repo: string;
  branches: string[] | null;
  authorization: Authorization;
}

export interface IProject {
  project: { name: string };
}

export interface ICommit {
  commit: string;
  branch: string;
  parent: string;
  description: string;
  started: number | null;
  finished: number | null;
  state: 'open' | 'finishing' | 'finished';
  error: string;
  size_bytes: number;
}

export interface IMountEntry {
  name: string;
  project: string;
  repo: string;
  branch?: string;
  commit?: string;
  paths?: string[];
  mode: Mode;
  follow?: boolean;
}

export interface IChange {
  kind: 'A' | 'M' | 'D' | 'R';
  path: string;
  old_path: string;
  size_bytes: number;
  old_size_bytes: number;
}

export interface IDifference {
  changes: IChange[];
  refused: { path: string; reason: string }[];
  ignored: string[];
  empty_directories: string[];
  open_for_writing: string[];
  patch: string;
}

export interface IDatum {
  id: string;
  idx: number;
  num_datums: number;
  all_datums_received: boolean;
}

/** An entry of a directory of the drive, or a file: a model as Jupyter's contents have it. */
export interface IEntry {
  name: string;
  path: string;
  type: 'directory' | 'file' | 'notebook';
  writable: boolean;
  last_modified: string | null;
  size: number | null;
}

/** A page of a directory of the drive. */
export interface IDirectoryPage extends IEntry {
  content: IEntry[];
  /** The `after` of the next page, "" or null behind the last one. */
  next: string | null;
  /** How many entries the directory has, those with the filter in their names; null if that is not known yet. */
  total: number | null;
}

/** The newest job of a pipeline; times are seconds since the epoch, and `done` counts datums, also skipped ones. */
export interface IJob {
  id: string;
  state: string;
  reason: string;
  started: number | null;
  finished: number | null;
  done: number;
  failed: number;
  total: number;
}

export interface IPipeline {
  project: string;
  name: string;
  version: number;
  state: string;
  reason: string;
  created: number | null;
  last_job: IJob | null;
}

/** What became of a notebook that was published. */
export interface IPublished {
  message: string;
  warnings?: string[];
}

export interface IConfig {
  cluster_status: 'INVALID' | 'AUTH_DISABLED' | 'AUTH_ENABLED';
  pachd_address?: string;
}

/** The login that was begun: where a person logs in. */
export interface ILogin {
  auth_url: string;
}

export interface ICheck {
  name: string;
  verdict: 'ok' | 'note' | 'problem';
  found: string;
  advice: string;
}

export interface IDoctor {
  ok: boolean;
  checks: ICheck[];
}

/** A failed request: the sentence of the daemon, why, and what to do about it. */
export class RequestError extends Error {
  constructor(
    readonly status: number,
    readonly id: string,
    readonly what: string,
    readonly why: string,
    readonly hint: string
  ) {
    super(why ? `${what} — ${why}` : what);
    this.name = 'RequestError';
  }

  /** What JupyterLab's documents look at in what a drive throws. */
  get response(): { status: number } | undefined {
    return this.status ? { status: this.status } : undefined;
  }

  static of(status: number, body: string, fallback: string): RequestError {
    let data: Partial<IErrorAnswer & { message: string; reason: string }> = {};
    try {
      data = JSON.parse(body) ?? {};
    } catch {
      data = { error: body.trim() };
    }
    const what = data.error || data.reason || data.message || fallback;
    return new RequestError(status, data.id ?? '', what, data.why ?? '', data.hint ?? '');
  }
}

const NAMESPACE = 'pachyderm/v2';

/** The URL of a route of the server half, whatever Jupyter's base URL is. */
export function routeUrl(route: string, query: Record<string, string | number | undefined> = {}): string {
  const settings = ServerConnection.makeSettings();
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  const search = new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString();
  return URLExt.join(settings.baseUrl, NAMESPACE, route) + (search ? `?${search}` : '');
}

/** Send a request; its answer is not looked at. Throws RequestError where nobody answers. */
export async function send(url: string, init: RequestInit = {}): Promise<Response> {
  const settings = ServerConnection.makeSettings();
  const headers = new Headers(init.headers);
  headers.set('X-Pachmount-Client', '1');
  try {
    return await ServerConnection.makeRequest(url, { ...init, headers }, settings);
  } catch (error) {
    if (init.signal?.aborted) {
      throw error;
    }
    throw new RequestError(0, 'jupyter-unreachable', "Jupyter's server does not answer", String(error), '');
  }
}

/** Send a request and return the JSON of its answer; throws RequestError. */
export async function requestAPI<T>(url: string, init: RequestInit = {}): Promise<T> {
  const response = await send(url, init);
  const text = await response.text();
  if (!response.ok) {
    throw RequestError.of(response.status, text, response.statusText);
  }
  return (text ? JSON.parse(text) : null) as T;
}

export function get<T>(
  route: string,
  query: Record<string, string | number | undefined> = {},
  init: RequestInit = {}
): Promise<T> {
  return requestAPI<T>(routeUrl(route, query), init);
}

export function put<T>(route: string, body: object = {}): Promise<T> {
  return requestAPI<T>(routeUrl(route), { method: 'PUT', body: JSON.stringify(body) });
}
