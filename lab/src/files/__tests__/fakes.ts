/** A contents route of the server half in memory, and the context of a view above it. */
import { ContentsManager, ServerConnection } from '@jupyterlab/services';
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';

import type { IEntry, IMountStatus, IServerState } from '../../api';
import { ViewModel, type IContext } from '../../context';
import { PfsDrive } from '../drive';

export interface IRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  body: Record<string, unknown>;
  signal: AbortSignal | undefined;
}

type Answer = { status: number; body: unknown };

export class FakeServer {
  /** The entries of each directory, by its path. */
  readonly directories = new Map<string, IEntry[]>([['', []]]);
  readonly requests: IRequest[] = [];
  readonly writable = new Set<string>();
  /** Answers a request instead of the directories if it returns something. */
  intercept: (request: IRequest) => Promise<Answer> | Answer | undefined = () => undefined;

  constructor() {
    jest
      .spyOn(ServerConnection, 'makeRequest')
      .mockImplementation((url, init) => this._answer(url, init as RequestInit));
  }

  add(path: string, names: string[], type: IEntry['type'] = 'file'): void {
    const entries = names.map(name => entryOf(path ? `${path}/${name}` : name, type));
    this.directories.set(path, [...(this.directories.get(path) ?? []), ...entries]);
    if (type === 'directory') {
      entries.forEach(entry => this.directories.set(entry.path, []));
    }
  }

  get listed(): string[] {
    return this.requests.filter(request => request.method === 'GET').map(request => request.path);
  }

  private async _answer(url: string, init: RequestInit): Promise<Response> {
    const { pathname, searchParams } = new URL(url, 'http://localhost');
    const request: IRequest = {
      method: init.method ?? 'GET',
      path: decodeURIComponent(pathname.replace(/^.*\/pachyderm\/v2\/contents\/?/, '')),
      query: searchParams,
      body: init.body ? JSON.parse(init.body as string) : {},
      signal: init.signal ?? undefined
    };
    this.requests.push(request);
    const { status, body } = (await this.intercept(request)) ?? this._contents(request);
    if (init.signal?.aborted) {
      throw new DOMException('aborted', 'AbortError');
    }
    const text = body === null ? '' : JSON.stringify(body);
    return { ok: status < 400, status, statusText: '', text: async () => text } as Response;
  }

  private _contents({ method, path, query, body }: IRequest): Answer {
    if (method !== 'GET') {
      return { status: 200, body: method === 'DELETE' ? null : entryOf(String(body.path ?? path)) };
    }
    const all = this.directories.get(path);
    if (!all) {
      const siblings = this.directories.get(path.slice(0, Math.max(path.lastIndexOf('/'), 0))) ?? [];
      const file = siblings.find(entry => entry.path === path);
      return file ? { status: 200, body: file } : failure(404, `${path} not found`);
    }
    const filter = (query.get('filter') ?? '').toLowerCase();
    const found = all.filter(entry => entry.name.toLowerCase().includes(filter));
    const start = found.findIndex(entry => entry.name === query.get('after')) + 1;
    const content = found.slice(start, start + Number(query.get('number')));
    const end = start + content.length;
    const next = end < found.length ? content[content.length - 1].name : '';
    const writable = this.writable.has(path);
    return {
      status: 200,
      body: { ...entryOf(path, 'directory'), content, next, writable, total: found.length }
    };
  }
}

export function entryOf(path: string, type: IEntry['type'] = 'file', size = 12): IEntry {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const last_modified = '2026-01-02T03:04:05Z';
  return { name, path, type, writable: false, last_modified, size: type === 'directory' ? null : size };
}

export function failure(status: number, error: string, hint = ''): Answer {
  return { status, body: { id: 'x', error, why: '', hint } };
}

export function mountOf(name: string, rest: Partial<IMountStatus> = {}): IMountStatus {
  const mountpoint = `/home/ada/pfs/${name}`;
  const source = { project: 'default', repo: name, branch: 'master', commit: 'c1', path: '/' };
  return { name, mountpoint, mode: 'ro', ...source, ...rest } as IMountStatus;
}

export function stateOf(mounts: IMountStatus[], rest: Partial<IServerState> = {}): IServerState {
  return {
    daemon: 'running',
    mount_dir: '/home/ada/pfs',
    fuse: { available: true, reason: '' },
    contents: { root: null },
    status: { mounts, datum: null, cluster: { state: 'connected', auth: 'off' } },
    ...rest
  } as IServerState;
}

export class FakeModel {
  state: IServerState | null = null;
  readonly changed = new Signal<this, void>(this);
  readonly contentsChanged = new Signal<this, void>(this);

  get status(): IServerState['status'] {
    return this.state?.status ?? null;
  }

  become(state: IServerState): void {
    this.state = state;
    this.changed.emit();
    this.contentsChanged.emit();
  }
}

export function contextOf(state: IServerState): { context: IContext; model: FakeModel; opened: string[] } {
  const model = new FakeModel();
  model.state = state;
  const commands = new CommandRegistry();
  const opened: string[] = [];
  commands.addCommand('docmanager:open', { execute: args => opened.push(String(args.path)) });
  const contents = new ContentsManager();
  contents.addDrive(new PfsDrive());
  const trans = nullTranslator.load('pachmount-lab');
  const shown = new ViewModel();
  return { context: { model, shown, trans, commands, contents } as unknown as IContext, model, opened };
}
