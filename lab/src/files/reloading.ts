/**
 * Documents of mounts follow them: a mount that moved to another commit shows other files, and so do open documents.
 */
import { Notification } from '@jupyterlab/apputils';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import type { Contents } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';

import type { IServerState } from '../api';
import { asRequestError, type MountModel } from '../model';
import { DRIVE, mountName } from './path';

export interface IReloaderOptions {
  model: MountModel;
  trans: TranslationBundle;
  contents: Contents.IManager;
  /** The contexts of the documents that are open. */
  openDocuments: () => Iterable<DocumentRegistry.Context>;
}

export class DocumentReloader implements IDisposable {
  constructor(private readonly _options: IReloaderOptions) {
    const { model } = _options;
    this._versions = versionsOf(model.state) ?? new Map();
    model.contentsChanged.connect(this._onContentsChanged, this);
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    Signal.disconnectReceiver(this);
  }

  private _onContentsChanged(): void {
    const versions = versionsOf(this._options.model.state);
    if (versions === null) {
      return; // what they show is compared when the daemon is back
    }
    const before = this._versions;
    const hasMoved = (name: string) =>
      before.has(name) && versions.has(name) && before.get(name) !== versions.get(name);
    this._versions = new Map([...before, ...versions]);
    for (const context of new Set(this._options.openDocuments())) {
      const [drive, path] = splitDrive(context.path);
      if (drive === DRIVE && hasMoved(mountName(path))) {
        void this._follow(context, path);
      }
    }
  }

  private async _follow(context: DocumentRegistry.Context, path: string): Promise<void> {
    const { trans, contents } = this._options;
    await context.ready;
    try {
      const now = await contents.get(context.path, { content: false });
      const shown = context.contentsModel;
      if (now.last_modified === shown?.last_modified && now.size === shown?.size) {
        return;
      }
    } catch (error) {
      const failure = asRequestError(error);
      Notification.warning(
        failure.status === 404
          ? trans.__(
              '%1 is gone in the commit that is mounted now. What is open is from the former one.',
              path
            )
          : trans.__('%1 was not reloaded: %2', path, failure.message)
      );
      return;
    }
    if (context.isDisposed) {
      return;
    }
    if (!context.model.dirty) {
      await revert(context);
      return;
    }
    const reload = {
      label: trans.__('Reload'),
      caption: trans.__('Drop the changes, and show the file of the commit'),
      callback: () => void (context.isDisposed || revert(context))
    };
    Notification.warning(
      trans.__(
        '%1 is another one in the commit that is mounted now; the document has changes of yours.',
        path
      ),
      { actions: [reload], autoClose: false }
    );
  }

  private _versions: Map<string, string>;
  private _isDisposed = false;
}

function revert(context: DocumentRegistry.Context): Promise<void> {
  return context.revert().catch(() => undefined); // it showed its failure in a dialog
}

/** What decides about the files below each name of the root; null while that is not known. */
function versionsOf(state: IServerState | null): Map<string, string> | null {
  const status = state?.status;
  if (!status) {
    return null;
  }
  const versions = new Map(status.mounts.map(mount => [mount.name, mount.commit]));
  status.datum?.files.forEach(file => versions.set(file.input, status.datum!.id));
  return versions;
}

function splitDrive(path: string): [string, string] {
  const colon = path.indexOf(':');
  return colon < 0 ? ['', path] : [path.slice(0, colon), path.slice(colon + 1)];
}
