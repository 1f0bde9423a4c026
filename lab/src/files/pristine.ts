/**
 * A notebook that cannot be saved does not look changed because of its kernel: JupyterLab writes the kernel that was
 * started and its language into the metadata, and would ask about these changes when the notebook is closed.
 */
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import type { INotebookModel, INotebookTracker } from '@jupyterlab/notebook';
import { JSONExt, type JSONValue } from '@lumino/coreutils';

import { DRIVE } from './path';

type Context = DocumentRegistry.IContext<INotebookModel>;

export function keepPristine(notebooks: INotebookTracker): void {
  notebooks.widgetAdded.connect((_, { context }) => void watch(context));
}

async function watch(context: Context): Promise<void> {
  await context.ready;
  const { model } = context;
  if (context.isDisposed || !isReadOnly(context)) {
    return;
  }
  let opened = withoutKernel(model);
  const look = () => {
    if (!isReadOnly(context)) {
      return; // it was saved elsewhere
    }
    if (!model.dirty) {
      opened = withoutKernel(model);
    } else if (JSONExt.deepEqual(withoutKernel(model), opened)) {
      model.dirty = false;
    }
  };
  look();
  model.stateChanged.connect((_, { name }) => name === 'dirty' && look());
}

function isReadOnly({ path, contentsModel }: Context): boolean {
  return path.startsWith(`${DRIVE}:`) && contentsModel?.writable === false;
}

function withoutKernel(model: INotebookModel): JSONValue {
  const notebook = model.toJSON() as unknown as { metadata: Record<string, JSONValue> };
  return { ...notebook, metadata: { ...notebook.metadata, kernelspec: null, language_info: null } };
}
