/** A fake of the network for tests: the server half as routes that answer, and what it was asked. */
import { ServerConnection } from '@jupyterlab/services';

import type { IClusterStatus, IDaemonStatus, IDatumStatus, IMountStatus, IServerState } from '../api';

export interface IRequest {
  method: string;
  /** Without the base URL; with the query. */
  route: string;
  body: string;
}

/** The JSON of an answer; a Response for what is none; anything thrown is a network that fails. */
export type Answer = (request: IRequest) => unknown;

export class FakeServer {
  readonly requests: IRequest[] = [];

  /** `answers` by method and route without its query, such as "PUT datums/_next". */
  constructor(readonly answers: Record<string, Answer>) {
    jest.spyOn(ServerConnection, 'makeRequest').mockImplementation(async (url, init) => {
      const route = url.slice(url.indexOf('pachyderm/v2/') + 'pachyderm/v2/'.length);
      const request = { method: init.method ?? 'GET', route, body: String(init.body ?? '') };
      this.requests.push(request);
      const answer = this.answers[`${request.method} ${route.split('?')[0]}`];
      const found = answer ? await answer(request) : failed(404, 'there is no such route');
      return found instanceof Response ? found : new Response(JSON.stringify(found));
    });
  }

  /** The requests of a method, such as "PUT", as "route body". */
  sent(method: string): string[] {
    return this.requests
      .filter(request => request.method === method)
      .map(({ route, body }) => `${route} ${body}`.trim());
  }
}

export function failed(status: number, error: string, why = '', hint = '', id = 'usage'): Response {
  return new Response(JSON.stringify({ id, error, why, hint }), { status });
}

export function someCluster(more: Partial<IClusterStatus> = {}): IClusterStatus {
  return {
    state: 'connected',
    address: 'grpc://pachd.example:30650',
    embedded: false,
    context: 'default',
    version: '2.11.6',
    auth: 'off',
    username: '',
    login_expires: null,
    unreachable_since: null,
    error: null,
    ...more
  };
}

export function someMount(name: string, more: Partial<IMountStatus> = {}): IMountStatus {
  return {
    name,
    source: name,
    mountpoint: `/home/ada/pfs/${name}`,
    mode: 'ro',
    state: 'mounted',
    status: '',
    error: null,
    project: 'default',
    repo: name,
    branch: 'master',
    commit: '29e4fdb4e9fc4afaa3d2c11c7e5d4a3f',
    path: '',
    latest_commit: '29e4fdb4e9fc4afaa3d2c11c7e5d4a3f',
    behind: 0,
    follow: false,
    note: '',
    listing: 'complete',
    files: 3,
    staged: null,
    ...more
  };
}

export function someDatum(more: Partial<IDatumStatus> = {}): IDatumStatus {
  return {
    id: '79f9d2eafb7a50b2b15f49cd4a4d9dd5ae1f2cb1ee2a3b4d0c9f40ab4cd0d4f1',
    idx: 0,
    num_datums: 6,
    received: 6,
    matched: 6,
    all_datums_received: true,
    error: null,
    input: { pfs: { project: 'default', name: 'images', repo: 'images', branch: 'master', glob: '/*' } },
    out: '/home/ada/pfs/out',
    files: [],
    ...more
  };
}

export function someStatus(more: Partial<IDaemonStatus> = {}): IDaemonStatus {
  return {
    version: '0.1.0',
    pid: 1857,
    started: 1795883672,
    mount_dir: '/home/ada/pfs',
    socket: '/run/user/1000/pachmount/pfs.sock',
    listen: '',
    log_file: '/home/ada/daemon.log',
    rss_bytes: 67948544,
    cluster: someCluster(),
    cache: {
      directory: '/home/ada/.cache/pachmount',
      disk_bytes: 0,
      disk_limit: 10737418240,
      memory_bytes: 0,
      memory_limit: 67108864,
      streams: 0,
      streams_limit: 40,
      fetched_bytes: 0,
      disabled_reason: ''
    },
    mounts: [],
    datum: null,
    warmups: [],
    ...more
  };
}

export function someState(more: Partial<IServerState> = {}): IServerState {
  return {
    daemon: 'running',
    error: null,
    sidecar: false,
    mount_dir: '/home/ada/pfs',
    fuse: { available: true, reason: '' },
    contents: { root: null },
    version: '0.1.0',
    status: someStatus(),
    login: null,
    ...more
  };
}
