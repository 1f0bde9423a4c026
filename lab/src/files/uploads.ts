/**
 * Files of the user's machine on their way into a read-write mount, one after the other, in chunks.
 */
import type { Contents } from '@jupyterlab/services';
import { Signal, type ISignal } from '@lumino/signaling';

import type { RequestError } from '../api';
import { asRequestError } from '../model';
import { globalPath, joinPath } from './path';

/** Bytes per request; the last chunk has the number -1, as Jupyter's contents have it. */
export const CHUNK = 1024 * 1024;

/** Arguments that a call takes in every browser. */
const ARGUMENTS = 8192;

export interface IUpload {
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly sent: number;
  readonly error: RequestError | null;
}

export class Uploads {
  /** `mayReplace` asks whether an entry that exists is to be replaced. */
  constructor(
    private readonly _contents: Contents.IManager,
    private readonly _mayReplace: (name: string) => Promise<boolean>
  ) {}

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** What waits, is sent, or failed and was not dismissed. */
  get all(): readonly IUpload[] {
    return this._all;
  }

  /** Send files to a directory; resolves when each was sent, failed, or was cancelled. */
  async add(files: readonly File[], directory: string): Promise<void> {
    const sendings = files.map(file => new Sending(file, joinPath(directory, file.name)));
    this._all = [...this._all, ...sendings];
    this._changed.emit();
    const earlier = this._queue;
    this._queue = (async () => {
      await earlier;
      for (const sending of sendings) {
        await this._run(sending);
      }
    })();
    await this._queue;
  }

  /** Stop an upload, or forget that it failed. */
  dismiss(upload: IUpload): void {
    (upload as Sending).cancelled = true;
    this._all = this._all.filter(other => other !== upload);
    this._changed.emit();
  }

  dispose(): void {
    this._all.forEach(upload => ((upload as Sending).cancelled = true));
    Signal.clearData(this);
  }

  private async _run(sending: Sending): Promise<void> {
    try {
      if (!sending.cancelled && (await this._isFree(sending))) {
        await this._send(sending);
      }
      this.dismiss(sending);
    } catch (error) {
      sending.error = asRequestError(error);
      this._changed.emit();
    }
  }

  private async _isFree({ path, name }: Sending): Promise<boolean> {
    try {
      await this._contents.get(globalPath(path), { content: false });
    } catch (error) {
      if (asRequestError(error).status === 404) {
        return true;
      }
      throw error;
    }
    return this._mayReplace(name);
  }

  private async _send(sending: Sending): Promise<void> {
    const { file, path } = sending;
    const target = globalPath(path);
    try {
      do {
        const end = Math.min(sending.sent + CHUNK, file.size);
        const content = await asBase64(file.slice(sending.sent, end));
        const number = end === file.size ? -1 : Math.ceil(end / CHUNK);
        const chunk = file.size > CHUNK ? { chunk: number } : {};
        await this._contents.save(target, { type: 'file', format: 'base64', content, ...chunk });
        sending.sent = end;
        this._changed.emit();
      } while (sending.sent < file.size && !sending.cancelled);
    } catch (error) {
      await this._removePart(sending, asRequestError(error));
      throw error;
    }
    if (sending.sent < file.size) {
      await this._removePart(sending, null);
    }
  }

  /** Half a file would look like a whole one. */
  private async _removePart(sending: Sending, failure: RequestError | null): Promise<void> {
    if (sending.sent === 0) {
      return;
    }
    try {
      await this._contents.delete(globalPath(sending.path));
    } catch (error) {
      throw failure ?? error; // the failure that came first tells more
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private _all: readonly IUpload[] = [];
  private _queue: Promise<void> = Promise.resolve();
}

class Sending implements IUpload {
  constructor(
    readonly file: File,
    readonly path: string
  ) {}

  readonly name = this.file.name;
  readonly size = this.file.size;
  sent = 0;
  error: RequestError | null = null;
  cancelled = false;
}

async function asBase64(part: Blob): Promise<string> {
  const bytes = new Uint8Array(await part.arrayBuffer());
  const pieces: string[] = [];
  for (let start = 0; start < bytes.length; start += ARGUMENTS) {
    pieces.push(String.fromCharCode(...bytes.subarray(start, start + ARGUMENTS)));
  }
  return btoa(pieces.join(''));
}
