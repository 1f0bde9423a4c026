/**
 * PublishModel: the form of the notebook that is in use, and what became of publishing it.
 *
 * The metadata of the notebook are the only place of the form, so that two notebooks never mix and a reload shows what
 * the file says. They are written when a person edits the form, and at no other time.
 */
import { URLExt } from '@jupyterlab/coreutils';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { Contents } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import { put, RequestError, type IPublished } from '../api';
import { asRequestError } from '../model';
import { formOf, metadataOf, METADATA_KEY, type IForm } from './form';

/** Why a notebook cannot be published: it is still being read, not a file of Jupyter's server, or cannot be written. */
export type Obstacle = 'loading' | 'other-drive' | 'read-only';

/** Of publishing a notebook: what it led to, until the next try. */
export interface IOutcome {
  busy: boolean;
  error: RequestError | null;
  /** What was published; `run` is another number for each time. */
  published: (IPublished & Pick<IForm, 'name' | 'project'> & { run: number }) | null;
}

const NOTHING: IOutcome = { busy: false, error: null, published: null };

/** Drives of files of Jupyter's server: its own, and that of jupyter-collaboration. */
const OWN_DRIVES = ['', 'RTC'];

export class PublishModel implements IDisposable {
  constructor(
    private readonly _tracker: INotebookTracker | null,
    private readonly _contents: Pick<Contents.IManager, 'driveName' | 'localPath'>
  ) {
    _tracker?.currentChanged.connect(this._onCurrent, this);
    this._onCurrent();
  }

  /** Emitted when another notebook is in use, or its form or outcome is another. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The path of the notebook in use, null if there is none. */
  get path(): string | null {
    return this._panel?.context.path ?? null;
  }

  get form(): IForm {
    return this._form;
  }

  get outcome(): IOutcome {
    return (this._panel && this._outcomes.get(this._panel)) ?? NOTHING;
  }

  get obstacle(): Obstacle | null {
    const context = this._panel?.context;
    if (!context) {
      return null;
    }
    if (!OWN_DRIVES.includes(this._contents.driveName(context.path))) {
      return 'other-drive';
    }
    if (!context.isReady) {
      return 'loading';
    }
    return context.model.readOnly || context.contentsModel?.writable === false ? 'read-only' : null;
  }

  /** The image of notebooks that name none. */
  set defaultImage(image: string) {
    this._defaultImage = image;
    this._read();
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      this._follow(null);
      this._tracker?.currentChanged.disconnect(this._onCurrent, this);
      Signal.clearData(this);
    }
  }

  /** A person changed fields of the form: they go to the notebook. */
  edit(fields: Partial<IForm>): void {
    if (this._panel && this.obstacle === null) {
      this._panel.context.model.setMetadata(METADATA_KEY, metadataOf({ ...this._form, ...fields }));
    }
  }

  /** Save the notebook and make a pipeline of it; how that ends is in `outcome`. */
  async run(): Promise<void> {
    const panel = this._panel;
    if (!panel || this.obstacle !== null || this.outcome.busy) {
      return;
    }
    const { name, project } = this._form;
    this.edit({}); // what is shown, and not yet in the metadata, such as the image of the settings
    this._setOutcome(panel, { ...NOTHING, busy: true });
    try {
      const published = await this._publish(panel);
      this._setOutcome(panel, { ...NOTHING, published: { ...published, name, project, run: ++this._runs } });
    } catch (error) {
      this._setOutcome(panel, { ...NOTHING, error: asRequestError(error) });
    }
  }

  private async _publish({ context }: NotebookPanel): Promise<IPublished> {
    try {
      await context.save();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new RequestError(0, 'not-saved', 'the notebook could not be saved', why, '');
    }
    const path = URLExt.encodeParts(this._contents.localPath(context.path));
    return put<IPublished>(`pps/_create/${path}`, {
      last_modified_time: context.contentsModel?.last_modified
    });
  }

  private _setOutcome(panel: NotebookPanel, outcome: IOutcome): void {
    this._outcomes.set(panel, outcome);
    if (!this._isDisposed) {
      this._changed.emit();
    }
  }

  private _onCurrent(): void {
    const panel = this._tracker?.currentWidget ?? null;
    this._follow(panel);
    this._read();
    if (panel && !panel.context.isReady) {
      // that it cannot be read is told by JupyterLab, which closes it then
      void panel.context.ready.then(
        () => this._read(),
        () => undefined
      );
    }
  }

  /** Listen to a notebook instead of the one before. */
  private _follow(panel: NotebookPanel | null): void {
    if (this._panel && !this._panel.isDisposed) {
      const { context } = this._panel;
      context.model.metadataChanged.disconnect(this._read, this);
      context.fileChanged.disconnect(this._read, this);
      context.pathChanged.disconnect(this._read, this);
    }
    this._panel = panel;
    if (panel) {
      panel.context.model.metadataChanged.connect(this._read, this);
      panel.context.fileChanged.connect(this._read, this);
      panel.context.pathChanged.connect(this._read, this);
    }
  }

  private _read(): void {
    if (this._isDisposed) {
      return;
    }
    const metadata = this._panel?.context.isReady
      ? this._panel.context.model.getMetadata(METADATA_KEY)
      : undefined;
    this._form = formOf(metadata, this._defaultImage);
    this._changed.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _outcomes = new WeakMap<NotebookPanel, IOutcome>();
  private _panel: NotebookPanel | null = null;
  private _defaultImage = '';
  private _runs = 0;
  private _form = formOf(undefined, '');
  private _isDisposed = false;
}
