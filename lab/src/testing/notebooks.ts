/** Notebooks that are open, for tests: with JupyterLab's model, without its widgets. */
import { NotebookModel, type INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import type { Contents } from '@jupyterlab/services';
import { PromiseDelegate } from '@lumino/coreutils';
import { Signal } from '@lumino/signaling';

type FileModel = Pick<Contents.IModel, 'last_modified' | 'writable'>;

/** What there is of the context of a document. */
export class SomeNotebook {
  readonly model = new NotebookModel();
  readonly fileChanged = new Signal<this, FileModel>(this);
  readonly pathChanged = new Signal<this, string>(this);
  readonly saves: unknown[] = [];
  contentsModel: FileModel;
  isReady = true;
  /** Why it cannot be saved. */
  refusal: Error | null = null;

  constructor(
    public path: string,
    metadata: object | null = null,
    writable = true
  ) {
    if (metadata) {
      this.model.setMetadata('pachyderm_pps', metadata);
    }
    this.model.dirty = false;
    this.contentsModel = { last_modified: '2026-11-28T10:00:00.000001Z', writable };
  }

  get ready(): Promise<void> {
    return this.isReady ? Promise.resolve() : this._loaded.promise;
  }

  /** The notebook has been read. */
  load(): void {
    this.isReady = true;
    this._loaded.resolve();
  }

  async save(): Promise<void> {
    if (this.refusal) {
      throw this.refusal;
    }
    this.saves.push(this.metadata);
    this.model.dirty = false;
    this.contentsModel = { ...this.contentsModel, last_modified: '2026-11-28T10:00:05.123456Z' };
  }

  get metadata(): unknown {
    return this.model.getMetadata('pachyderm_pps');
  }

  readonly isDisposed = false;
  readonly panel = { context: this, isDisposed: false } as unknown as NotebookPanel;
  private readonly _loaded = new PromiseDelegate<void>();
}

/** Which of them is in use. */
export class SomeNotebooks {
  readonly widgetAdded = new Signal<this, NotebookPanel>(this);
  readonly currentChanged = new Signal<this, NotebookPanel | null>(this);
  currentWidget: NotebookPanel | null = null;

  use(notebook: SomeNotebook | null): void {
    this.currentWidget = notebook?.panel ?? null;
    this.currentChanged.emit(this.currentWidget);
  }

  open(notebook: SomeNotebook): void {
    this.widgetAdded.emit(notebook.panel);
  }

  get tracker(): INotebookTracker {
    return this as unknown as INotebookTracker;
  }
}
