/**
 * FileActions: what can be done with an entry, and how it went.
 */
import { Clipboard, Dialog, showDialog } from '@jupyterlab/apputils';
import { Signal, type ISignal } from '@lumino/signaling';

import { get, RequestError, type IEntry } from '../api';
import { formatBytes } from '../common/text';
import type { IContext } from '../context';
import { asRequestError } from '../model';
import { globalPath, joinPath, parentPath, routeFor } from './path';

/** Bytes from which on the server half is asked first whether it hands out a file for editing. */
const LARGE = 50 * 1024 * 1024;

export class FileActions {
  constructor(private readonly _context: IContext) {}

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** What could not be done last. */
  get failure(): RequestError | null {
    return this._failure;
  }

  /** The file that is too large to be opened but can be downloaded. */
  get tooLarge(): IEntry | null {
    return this._tooLarge;
  }

  /** What was done last, for those who cannot see it. */
  get notice(): string {
    return this._notice;
  }

  /** Open a file as JupyterLab opens files of its kind. */
  openFile(entry: IEntry): Promise<void> {
    return this._try(async () => {
      if ((entry.size ?? 0) > LARGE) {
        await this._askForContent(entry);
      }
      await this._context.commands.execute('docmanager:open', { path: globalPath(entry.path) });
    });
  }

  download(entry: IEntry): Promise<void> {
    const { contents } = this._context;
    const path = globalPath(entry.path);
    return this._try(async () => {
      await contents.get(path, { content: false }); // a failed download would be a file with the error in it
      save(await contents.getDownloadUrl(path), entry.name);
    });
  }

  /** Download a directory with all that is in it. */
  downloadZip(entry: IEntry): Promise<void> {
    const { contents, trans } = this._context;
    return this._try(async () => {
      const route = routeFor('download', entry.path);
      const size = await get<{ files: number; size_bytes: number }>(route, { content: 0 });
      save(await contents.getDownloadUrl(globalPath(entry.path)), `${entry.name}.zip`);
      this._notice = trans._n(
        'Downloading %1 file, %2',
        'Downloading %1 files, %2',
        size.files,
        formatBytes(size.size_bytes)
      );
      this._changed.emit();
    });
  }

  copy(text: string): void {
    Clipboard.copyToSystem(text);
    this._notice = this._context.trans.__('Copied');
    this._changed.emit();
  }

  rename(entry: IEntry, name: string): Promise<void> {
    const { trans, contents } = this._context;
    return this._try(async () => {
      if (name.includes('/') || name === '.' || name === '..') {
        throw new RequestError(400, 'invalid', trans.__('"%1" cannot be the name of a file', name), '', '');
      }
      const target = joinPath(parentPath(entry.path), name);
      await contents.rename(globalPath(entry.path), globalPath(target));
    });
  }

  /** Delete an entry if the user agrees. */
  async remove(entry: IEntry): Promise<void> {
    const { trans, contents } = this._context;
    const body =
      entry.type === 'directory'
        ? trans.__('Delete the folder "%1" and all that is in it?', entry.name)
        : trans.__('Delete "%1"?', entry.name);
    if (await ask(trans.__('Delete'), body, trans.__('Delete'), trans.__('Cancel'))) {
      await this._try(() => contents.delete(globalPath(entry.path)));
    }
  }

  /** Make a folder; its name is the server's choice, "" if that failed. */
  async makeFolder(directory: string): Promise<string> {
    let name = '';
    await this._try(async () => {
      const options = { path: globalPath(directory), type: 'directory' as const };
      name = (await this._context.contents.newUntitled(options)).name;
    });
    return name;
  }

  /** Ask whether an upload may replace an entry that exists. */
  mayReplace(name: string): Promise<boolean> {
    const { trans } = this._context;
    const body = trans.__('"%1" exists already in this folder. Replace it?', name);
    return ask(trans.__('Upload'), body, trans.__('Replace'), trans.__('Skip'));
  }

  fail(what: string): void {
    this._failure = new RequestError(400, 'invalid', what, '', '');
    this._changed.emit();
  }

  /** Forget how the last action went. */
  dismiss(): void {
    this._failure = null;
    this._tooLarge = null;
    this._notice = '';
    this._changed.emit();
  }

  dispose(): void {
    Signal.clearData(this);
  }

  /** Show why something could not be done until the next attempt. */
  private async _try(action: () => Promise<unknown>): Promise<void> {
    this.dismiss();
    try {
      await action();
    } catch (error) {
      this._failure = asRequestError(error);
      this._changed.emit();
    }
  }

  /** Throws if the server half does not hand out the content of a file; a download is offered if that is for its size. */
  private async _askForContent(entry: IEntry): Promise<void> {
    try {
      await this._context.contents.get(globalPath(entry.path));
    } catch (error) {
      this._tooLarge = asRequestError(error).status === 413 ? entry : null;
      throw error;
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private _failure: RequestError | null = null;
  private _tooLarge: IEntry | null = null;
  private _notice = '';
}

/** Let the browser save what is behind a URL. */
function save(url: string, name: string): void {
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  document.body.appendChild(link);
  link.click();
  link.remove();
}

async function ask(title: string, body: string, accept: string, reject: string): Promise<boolean> {
  const buttons = [Dialog.cancelButton({ label: reject }), Dialog.warnButton({ label: accept })];
  const answer = await showDialog({ title, body, buttons, defaultButton: 0 });
  return answer.button.accept;
}
