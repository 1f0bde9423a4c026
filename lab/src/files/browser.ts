/**
 * BrowserModel: the directory that is shown, and which of its entries is chosen.
 */
import type { Contents } from '@jupyterlab/services';
import { Signal, type ISignal } from '@lumino/signaling';

import type { IEntry } from '../api';
import type { IContext } from '../context';
import { FileActions } from './actions';
import { Listing } from './listing';
import { baseName, DRIVE, isThere, joinPath, parentPath } from './path';
import { Uploads } from './uploads';

export class BrowserModel {
  constructor(
    readonly context: IContext,
    readonly listing = new Listing()
  ) {
    const { model, shown, contents } = context;
    this.actions = new FileActions(context);
    this.uploads = new Uploads(contents, name => this.actions.mayReplace(name));
    listing.changed.connect(this._onListed, this);
    this.actions.changed.connect(this._emit, this);
    this.uploads.changed.connect(this._emit, this);
    shown.changed.connect(this._onShown, this);
    model.contentsChanged.connect(this._onContentsChanged, this);
    model.changed.connect(this._onModelChanged, this);
    contents.fileChanged.connect(this._onFileChanged, this);
    void listing.show(shown.directory);
  }

  readonly actions: FileActions;
  readonly uploads: Uploads;

  /** Emitted when anything is to be shown another way. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The row that the keyboard acts on; -1 for none. */
  get active(): number {
    return this._active;
  }

  get activeEntry(): IEntry | null {
    return this.listing.entries[this._active] ?? null;
  }

  /** Grows whenever the active row is to be scrolled into view. */
  get reveals(): number {
    return this._reveals;
  }

  /** The path of the entry whose name is edited, "" for none. */
  get renaming(): string {
    return this._renaming;
  }

  dispose(): void {
    Signal.disconnectReceiver(this);
    this.actions.dispose();
    this.uploads.dispose();
    this.listing.dispose();
    Signal.clearData(this);
  }

  /** Choose a row, and scroll to it if `reveal`. */
  choose(index: number, reveal = true): void {
    this._active = Math.max(Math.min(index, this.listing.rowCount - 1), -1);
    this._activeName = this.activeEntry?.name ?? '';
    this._reveals += reveal ? 1 : 0;
    this._emit();
  }

  /** Show a directory; `chosen` is the name of the entry to be chosen there. */
  enter(path: string, chosen = ''): void {
    this._wantedName = chosen;
    this.context.shown.directory = path;
  }

  enterParent(): void {
    const { path } = this.listing;
    if (path) {
      this.enter(parentPath(path), baseName(path));
    }
  }

  async open(entry: IEntry): Promise<void> {
    if (entry.type === 'directory') {
      this.enter(entry.path);
    } else {
      await this.actions.openFile(entry);
    }
  }

  startRenaming(entry: IEntry): void {
    this._renaming = entry.path;
    this._emit();
  }

  /** End the editing of a name: rename, unless `name` is "" or the present one. */
  async endRenaming(entry: IEntry, name: string): Promise<void> {
    this._renaming = '';
    this._emit();
    if (name && name !== entry.name) {
      this._wantedName = name;
      await this.actions.rename(entry, name);
    }
  }

  /** Make a folder, and let the user edit its name. */
  async newFolder(): Promise<void> {
    const { path } = this.listing;
    const name = await this.actions.makeFolder(path);
    if (name && path === this.listing.path) {
      this._wantedName = name;
      this._renaming = joinPath(path, name);
      await this.listing.reload();
    }
  }

  upload(files: readonly File[]): Promise<void> {
    return this.uploads.add(files, this.listing.path);
  }

  private _onShown(): void {
    const { directory } = this.context.shown;
    if (directory !== this.listing.path) {
      this._active = -1;
      this._activeName = '';
      this._renaming = '';
      this.actions.dismiss();
      void this.listing.show(directory);
    }
  }

  /** Keep the chosen entry chosen, wherever it is now. */
  private _onListed(): void {
    const { entries, loaded, loading, rowCount } = this.listing;
    const name = this._wantedName || this._activeName;
    if (loaded && name && this.activeEntry?.name !== name) {
      const index = entries.findIndex(entry => entry.name === name);
      this._active = index >= 0 ? index : Math.min(this._active, rowCount - 1);
      this._reveals += index >= 0 && this._wantedName ? 1 : 0;
    }
    if (loaded) {
      this._activeName = this.activeEntry?.name ?? '';
    }
    if (!loading) {
      this._wantedName = '';
    }
    this._emit();
  }

  private _onContentsChanged(): void {
    const { model, shown } = this.context;
    if (isThere(model.state, shown.directory)) {
      void this.listing.reload();
    } else {
      this.enter('');
    }
  }

  /** A failure that goes away with the trouble of the daemon or the cluster needs nobody to click. */
  private _onModelChanged(): void {
    const { state } = this.context.model;
    const cluster = state?.status?.cluster;
    const health = [state?.daemon, cluster?.state, cluster?.auth].join(' ');
    if (health !== this._health) {
      this._health = health;
      if (this.listing.error) {
        void this.listing.retry();
      }
    }
    this._emit(); // texts depend on the mounts
  }

  private _onFileChanged(_: Contents.IManager, change: Contents.IChangedArgs): void {
    const paths = [change.oldValue?.path, change.newValue?.path];
    if (paths.some(path => path?.startsWith(`${DRIVE}:`) && this._isHere(path.slice(DRIVE.length + 1)))) {
      void this.listing.reload();
    }
  }

  private _isHere(path: string): boolean {
    return parentPath(path) === this.listing.path;
  }

  private _emit(): void {
    this._changed.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private _active = -1;
  private _activeName = '';
  /** The name of the entry to be chosen once it is listed. */
  private _wantedName = '';
  private _reveals = 0;
  private _renaming = '';
  private _health = '';
}
