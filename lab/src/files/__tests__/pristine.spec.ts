import { SomeNotebook, SomeNotebooks } from '../../testing/notebooks';
import { keepPristine } from '../pristine';

async function opened(path: string, writable: boolean): Promise<SomeNotebook> {
  const notebooks = new SomeNotebooks();
  keepPristine(notebooks.tracker);
  const notebook = new SomeNotebook(path, null, writable);
  notebooks.open(notebook);
  await notebook.ready;
  return notebook;
}

function startKernel({ model }: SomeNotebook): void {
  model.setMetadata('kernelspec', { name: 'python3', display_name: 'Python 3' });
  model.setMetadata('language_info', { name: 'python', version: '3.11.7' });
}

describe('a notebook that cannot be saved', () => {
  it('does not look changed because of its kernel', async () => {
    const notebook = await opened('pfs:books/a.ipynb', false);
    startKernel(notebook);
    expect(notebook.model.dirty).toBe(false);
  });

  it('looks changed when a person changed it', async () => {
    const notebook = await opened('pfs:books/a.ipynb', false);
    notebook.model.sharedModel.addCell({ cell_type: 'code', source: '1' });
    startKernel(notebook);
    expect(notebook.model.dirty).toBe(true);
  });
});

it.each([
  ['pfs:books/a.ipynb', true],
  ['work/a.ipynb', false]
])('leaves %s alone where it can be saved, or is not ours', async (path, writable) => {
  const notebook = await opened(path, writable);
  startKernel(notebook);
  expect(notebook.model.dirty).toBe(true);
});
