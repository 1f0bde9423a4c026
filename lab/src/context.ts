/**
 * What every view gets: the model, translations, commands, and which view and directory are shown.
 */
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import { Signal, type ISignal } from '@lumino/signaling';
import type { Contents } from '@jupyterlab/services';

import type { ExploreModel } from './explore/model';
import type { MountModel } from './model';
import type { PublishModel } from './publish/model';

export const VIEWS = ['explore', 'test', 'publish', 'settings'] as const;
export type View = (typeof VIEWS)[number];

/** A command with its arguments, as the palette lists it. */
export interface ICommandItem {
  command: string;
  args?: { [key: string]: string };
}

/** Which view and which directory of the drive the panel shows. */
export class ViewModel {
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get view(): View {
    return this._view;
  }

  set view(view: View) {
    if (view !== this._view) {
      this._view = view;
      this._changed.emit();
    }
  }

  /** The directory shown by the file browser: a path of the drive without its name, "" for the mounts. */
  get directory(): string {
    return this._directory;
  }

  set directory(path: string) {
    if (path !== this._directory) {
      this._directory = path;
      this._changed.emit();
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private _view: View = 'explore';
  private _directory = '';
}

export interface IContext {
  readonly model: MountModel;
  readonly shown: ViewModel;
  readonly explore: ExploreModel;
  readonly publish: PublishModel;
  readonly trans: TranslationBundle;
  readonly commands: CommandRegistry;
  readonly contents: Contents.IManager;
  /** Knows the icons of files. */
  readonly docRegistry?: Pick<DocumentRegistry, 'getFileTypesForPath'>;
}

/** The ids of our commands, `pachmount:verb-noun`. */
export namespace CommandIDs {
  export const showPanel = 'pachmount:show-panel';
  export const showView = 'pachmount:show-view';
  export const mountRepo = 'pachmount:mount-repo';
  export const openMount = 'pachmount:open-mount';
  export const updateMount = 'pachmount:update-mount';
  export const updateAll = 'pachmount:update-all';
  export const followBranch = 'pachmount:follow-branch';
  export const commitMount = 'pachmount:commit-mount';
  export const makeReadWrite = 'pachmount:make-read-write';
  export const makeReadOnly = 'pachmount:make-read-only';
  export const copyPath = 'pachmount:copy-path';
  export const copySnippet = 'pachmount:copy-snippet';
  export const warmUp = 'pachmount:warm-up';
  export const cancelWarmup = 'pachmount:cancel-warmup';
  export const unmount = 'pachmount:unmount-repo';
  export const refreshRepos = 'pachmount:refresh-repos';
  export const openFile = 'pachmount:open-file';
  export const browse = 'pachmount:browse-directory';
}
