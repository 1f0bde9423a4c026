/**
 * The drive `pfs`: what is mounted, and what could be, as JupyterLab's documents open and save it. It reads through the
 * daemon, so that it needs no FUSE; it writes in read-write mounts.
 */
import { ServerConnection, type Contents } from '@jupyterlab/services';
import { Signal, type ISignal } from '@lumino/signaling';

import { get, requestAPI, RequestError, routeUrl, type IDirectoryPage } from '../api';
import { baseName, DRIVE, joinPath, parentPath, routeFor } from './path';

/** Entries per request, and at most, of a directory that is asked for as a whole. */
const PAGE = 1000;
const MAX_ENTRIES = 10000;
/** Copies of one name that are tried. */
const MAX_COPIES = 100;

export class PfsDrive implements Contents.IDrive {
  readonly name = DRIVE;

  constructor(readonly serverSettings: ServerConnection.ISettings = ServerConnection.makeSettings()) {}

  get fileChanged(): ISignal<this, Contents.IChangedArgs> {
    return this._fileChanged;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    Signal.clearData(this);
  }

  /** A file with its content, or a directory with its first 10,000 entries. Throws RequestError. */
  async get(path: string, options: Contents.IFetchOptions = {}): Promise<Contents.IModel> {
    const query = {
      type: options.type,
      format: options.format ?? undefined,
      content: options.content === false ? 0 : 1
    };
    const model = await get<Contents.IModel>(routeFor('contents', path), { ...query, number: PAGE });
    if (model.type !== 'directory' || !model.content) {
      return model;
    }
    const entries: Contents.IModel[] = [...model.content];
    let after = (model as unknown as IDirectoryPage).next;
    while (after && entries.length < MAX_ENTRIES) {
      const page = await get<IDirectoryPage>(routeFor('contents', path), { ...query, after, number: PAGE });
      entries.push(...(page.content as unknown as Contents.IModel[]));
      after = page.next;
    }
    return { ...model, content: entries };
  }

  async getDownloadUrl(path: string): Promise<string> {
    return routeUrl(routeFor('download', path));
  }

  async newUntitled(options: Contents.ICreateOptions = {}): Promise<Contents.IModel> {
    const { path = '', type = 'file', ext } = options;
    const model = await this._change('POST', path, { type, ext });
    this._fileChanged.emit({ type: 'new', oldValue: null, newValue: model });
    return model;
  }

  async delete(path: string): Promise<void> {
    await this._change('DELETE', path);
    this._fileChanged.emit({ type: 'delete', oldValue: { path }, newValue: null });
  }

  /** Never over something that exists: that is a RequestError with status 409. */
  async rename(path: string, newPath: string): Promise<Contents.IModel> {
    const model = await this._change('PATCH', path, { path: newPath });
    this._fileChanged.emit({ type: 'rename', oldValue: { path }, newValue: model });
    return model;
  }

  async save(path: string, options: Partial<Contents.IModel> = {}): Promise<Contents.IModel> {
    const { type, format, content, chunk } = options;
    const model = await this._change('PUT', path, { type, format, content, chunk });
    if (chunk === undefined || chunk === -1) {
      this._fileChanged.emit({ type: 'save', oldValue: null, newValue: model });
    }
    return model;
  }

  async copy(path: string, toDirectory: string): Promise<Contents.IModel> {
    const { type, format, content } = await this.get(path);
    if (type === 'directory') {
      const what = `${path} cannot be copied`;
      throw new RequestError(400, 'invalid', what, 'it is a directory', '');
    }
    return this.save(await this._freePath(path, toDirectory), { type, format, content });
  }

  /** Commits are what one can go back to; JupyterLab asks for a checkpoint after each save and needs an answer. */
  async createCheckpoint(_path: string): Promise<Contents.ICheckpointModel> {
    return { id: '', last_modified: '' };
  }

  async listCheckpoints(_path: string): Promise<Contents.ICheckpointModel[]> {
    return [];
  }

  async restoreCheckpoint(path: string, _id: string): Promise<void> {
    throw noCheckpoints(path);
  }

  async deleteCheckpoint(path: string, _id: string): Promise<void> {
    throw noCheckpoints(path);
  }

  private _change(method: string, path: string, body?: object): Promise<Contents.IModel> {
    const text = body && JSON.stringify(body);
    return requestAPI<Contents.IModel>(routeUrl(routeFor('contents', path)), { method, body: text });
  }

  private async _freePath(path: string, toDirectory: string): Promise<string> {
    const name = baseName(path);
    const dot = name.lastIndexOf('.') > 0 ? name.lastIndexOf('.') : name.length;
    for (let copy = 1; copy <= MAX_COPIES; copy++) {
      const free = joinPath(toDirectory, `${name.slice(0, dot)}-Copy${copy}${name.slice(dot)}`);
      if (!(await this.exists(free))) {
        return free;
      }
    }
    const why = `there are ${MAX_COPIES} copies in ${toDirectory || parentPath(path)}`;
    throw new RequestError(409, 'exists', `${path} cannot be copied`, why, '');
  }

  /** Whether there is a file or directory. Throws RequestError where that cannot be told. */
  async exists(path: string): Promise<boolean> {
    try {
      await this.get(path, { content: false });
      return true;
    } catch (error) {
      if (error instanceof RequestError && error.status === 404) {
        return false;
      }
      throw error;
    }
  }

  private readonly _fileChanged = new Signal<this, Contents.IChangedArgs>(this);
  private _isDisposed = false;
}

function noCheckpoints(path: string): RequestError {
  return new RequestError(404, 'not-found', `${path} has no checkpoints`, 'commits take their place', '');
}
