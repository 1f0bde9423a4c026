import '@testing-library/jest-dom';
import * as apputils from '@jupyterlab/apputils';
import { act, fireEvent, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import React from 'react';

import type { IContext } from '../../context';
import { COUNT_INTERVAL } from '../counting';
import { FileBrowser } from '../FileBrowser';
import { CHUNK } from '../uploads';
import { contextOf, entryOf, failure, FakeServer, mountOf, stateOf, type FakeModel } from './fakes';

jest.mock('@jupyterlab/apputils', () => ({
  ...jest.requireActual('@jupyterlab/apputils'),
  showDialog: jest.fn(),
  Clipboard: { copyToSystem: jest.fn() }
}));

describe('FileBrowser', () => {
  let server: FakeServer;
  let context: IContext;
  let model: FakeModel;
  let opened: string[];
  const user = userEvent.setup();

  beforeEach(() => {
    server = new FakeServer();
    server.add('', ['images', 'results'], 'directory');
    server.add('images', ['cats'], 'directory');
    server.add('images', ['a.txt', 'apple.csv', 'b.txt']);
    server.add('images/cats', ['1.png']);
    server.add('results', ['r.txt']);
    server.writable.add('results');
    const state = stateOf([mountOf('images'), mountOf('results', { mode: 'rw' })]);
    ({ context, model, opened } = contextOf(state));
  });

  afterEach(() => jest.restoreAllMocks());

  async function show(directory: string): Promise<HTMLElement> {
    context.shown.directory = directory;
    render(<FileBrowser {...context} />);
    await waitFor(() => expect(screen.getByTestId('Files__count')).not.toBeEmptyDOMElement());
    return screen.getByTestId('Files__list');
  }

  const rowNames = () =>
    screen.queryAllByTestId('Files__row').map(row => row.querySelector('.pach-Files-text')!.textContent);
  const chosen = () => screen.getByRole('row', { selected: true });
  const answerDialog = (accept: boolean) =>
    (apputils.showDialog as jest.Mock).mockResolvedValue({ button: { accept } });

  function menuOf(name: string): string[] {
    document.querySelectorAll('.lm-Menu').forEach(menu => fireEvent.keyDown(menu, { keyCode: 27 }));
    fireEvent.contextMenu(screen.getByText(name), { button: 2 });
    return menuItems();
  }

  it('shows the mounts, and tells how to get some', async () => {
    await show('');
    expect(rowNames()).toEqual(['images', 'results']);
    server.directories.set('', []);
    act(() => model.become(stateOf([])));
    expect(await screen.findByTestId('Files__empty')).toHaveTextContent('Mount a repository');
  });

  it('never shows a failure as an empty directory', async () => {
    server.intercept = () => failure(502, 'the daemon does not answer', 'pachmount start');
    render(<FileBrowser {...context} />);
    expect(await screen.findByTestId('Files__error')).toHaveTextContent('the daemon does not answer');
    expect(screen.queryByTestId('Files__list')).toBeNull();
    expect(screen.queryByTestId('Files__empty')).toBeNull();
    server.intercept = () => undefined;
    act(() => model.become(stateOf([mountOf('images')], { daemon: 'running' })));
    expect(await screen.findByText('images')).toBeVisible();
  });

  it('keeps the document small with 100,000 entries', async () => {
    server.add(
      'big',
      Array.from({ length: 100000 }, (_, index) => `f${index}`)
    );
    context.shown.directory = 'big';
    model.state = stateOf([mountOf('big')]);
    render(<FileBrowser {...context} />);
    await screen.findByText('f0');
    const list = screen.getByTestId('Files__list');
    expect(list).toHaveAttribute('aria-rowcount', '100001');
    expect(screen.getByTestId('Files__count')).toHaveTextContent('100,000 entries');
    expect(screen.getAllByTestId('Files__row').length).toBeLessThan(200);
    expect(server.requests).toHaveLength(1);

    list.scrollTop = 2500 * 24;
    fireEvent.scroll(list);
    await screen.findByText('f2505');
    expect(screen.getAllByTestId('Files__row').length).toBeLessThan(200);
    expect(server.requests.length).toBeLessThanOrEqual(4);
  });

  it('is operated by keys', async () => {
    const list = await show('images');
    act(() => list.focus());
    expect(chosen()).toHaveTextContent('cats');
    await user.keyboard('{End}');
    expect(chosen()).toHaveTextContent('b.txt');
    await user.keyboard('{Home}{ArrowDown}');
    expect(chosen()).toHaveTextContent('a.txt');
    expect(list).toHaveAttribute('aria-activedescendant', chosen().id);
    await user.keyboard('ap');
    expect(chosen()).toHaveTextContent('apple.csv');
    await user.keyboard('{Enter}');
    expect(opened).toEqual(['pfs:images/apple.csv']);
    await user.keyboard('{Home}{Enter}');
    expect(await screen.findByText('1.png')).toBeVisible();
    await user.keyboard('{Backspace}');
    await waitFor(() => expect(chosen()).toHaveTextContent('cats'));
    expect(context.shown.directory).toBe('images');
  });

  it('does not change read-only mounts by keys', async () => {
    const list = await show('images');
    act(() => list.focus());
    await user.keyboard('{F2}{Delete}');
    expect(screen.queryByTestId('Files__rename')).toBeNull();
    expect(screen.queryByTestId('Files__upload')).toBeNull();
    expect(server.requests.every(({ method }) => method === 'GET')).toBe(true);
  });

  it('leads back by the breadcrumb', async () => {
    await show('images/cats');
    const crumbs = screen.getByRole('navigation');
    expect(crumbs).toHaveTextContent('pfsimagescats');
    await user.click(within(crumbs).getByText('pfs'));
    expect(context.shown.directory).toBe('');
    expect(await screen.findByText('results')).toBeVisible();
  });

  it('filters on the server when typing pauses', async () => {
    await show('images');
    await user.type(screen.getByTestId('Files__filter'), 'txt');
    await waitFor(() => expect(rowNames()).toEqual(['a.txt', 'b.txt']));
    expect(server.requests.map(({ query }) => query.get('filter'))).toEqual([null, 'txt']);
    expect(screen.getByTestId('Files__count')).toHaveTextContent('2 entries found');
    await user.type(screen.getByTestId('Files__filter'), 'zzz');
    expect(await screen.findByTestId('Files__empty')).toHaveTextContent('No name contains "txtzzz"');
  });

  it('lists again when mounts move, and keeps what is chosen', async () => {
    await show('images');
    fireEvent.mouseDown(screen.getByText('b.txt'));
    server.directories.get('images')!.splice(1, 0, entryOf('images/a0.txt'));
    act(() => model.become(stateOf([mountOf('images', { commit: 'c2' })])));
    expect(await screen.findByText('a0.txt')).toBeVisible();
    expect(chosen()).toHaveTextContent('b.txt');
  });

  it('goes to the root when its mount is gone', async () => {
    await show('images/cats');
    act(() => model.become(stateOf([mountOf('results')])));
    expect(context.shown.directory).toBe('');
    expect(await screen.findByText('results')).toBeVisible();
  });

  it('tells where the output of a datum is', async () => {
    const datum = { id: 'd1', files: [{ input: 'images' }] };
    const state = stateOf([]);
    model.state = { ...state, status: { ...state.status!, datum: datum as never } };
    context.shown.directory = 'out';
    render(<FileBrowser {...context} />);
    expect(await screen.findByTestId('Files__out')).toHaveTextContent('/home/ada/pfs/out');
  });

  describe('while the daemon still lists', () => {
    let total: number | null;
    let isOnPage: boolean;

    beforeEach(async () => {
      [total, isOnPage] = [null, true];
      jest
        .spyOn(Element.prototype, 'getClientRects')
        .mockImplementation(() => (isOnPage ? [{}] : []) as unknown as DOMRectList);
      server.intercept = ({ path }) => ({
        status: 200,
        body: { ...entryOf(path, 'directory'), content: [entryOf('images/a.txt')], next: 'a.txt', total }
      });
      jest.useFakeTimers();
      context.shown.directory = 'images';
      render(<FileBrowser {...context} />);
      await pass(0);
    });

    afterEach(() => jest.useRealTimers());

    const pass = (milliseconds: number) => act(() => jest.advanceTimersByTimeAsync(milliseconds));
    const counts = () => server.requests.filter(({ query }) => query.get('number') === '1').length;

    it('asks for the number of entries until it is known', async () => {
      await pass(5 * COUNT_INTERVAL);
      expect(counts()).toBeGreaterThan(0);
      expect(screen.getByTestId('Files__count')).toHaveTextContent(/^More than/);
      total = 3500;
      await pass(30 * COUNT_INTERVAL);
      expect(screen.getByTestId('Files__count')).toHaveTextContent('3,500 entries');
      const asked = counts();
      await pass(100 * COUNT_INTERVAL);
      expect(counts()).toBe(asked);
    });

    it('asks for nothing while nobody can see it', async () => {
      isOnPage = false;
      await pass(60 * COUNT_INTERVAL);
      expect(counts()).toBe(0);
      isOnPage = true;
      total = 3500;
      await pass(60 * COUNT_INTERVAL);
      expect(counts()).toBe(1);
    });
  });

  it('offers in the menu what can be done', async () => {
    await show('images');
    const reading = ['Open', 'Download', 'Copy Path', 'Copy Pachyderm File URI', 'Copy Code Snippet'];
    expect(menuOf('a.txt')).toEqual(reading);
    act(() => {
      context.shown.directory = 'results';
    });
    await screen.findByText('r.txt');
    expect(menuOf('r.txt')).toEqual([...reading, 'Upload…', 'New Folder', 'Rename', 'Delete']);
  });

  it('offers no real path for what is not mounted', async () => {
    server.add('@/default/images/master', ['a.txt']);
    await show('@/default/images/master');
    expect(menuOf('a.txt')).toEqual(['Open', 'Download', 'Copy Pachyderm File URI']);
  });

  it('shows a file in the main file browser where that reaches it', async () => {
    const shown: unknown[] = [];
    context.commands.addCommand('filebrowser:go-to-path', {
      describedBy: { args: {} },
      execute: args => shown.push(args.path)
    });
    model.state = stateOf([mountOf('images')], { contents: { root: 'pfs' } });
    await show('images');
    const label = 'Show in the Main File Browser';
    expect(menuOf('a.txt')).toContain(label);
    chooseItem(label);
    expect(shown).toEqual(['pfs/images/a.txt']);
  });

  it('copies the real path', async () => {
    await show('images');
    menuOf('a.txt');
    chooseItem('Copy Path');
    expect(apputils.Clipboard.copyToSystem).toHaveBeenCalledWith('/home/ada/pfs/images/a.txt');
    expect(await screen.findByText('Copied')).toBeInTheDocument();
  });

  it('downloads a folder as zip, after it asked whether that can be done', async () => {
    const saved: string[] = [];
    jest.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(function (this: HTMLAnchorElement) {
      saved.push(`${this.download} ${new URL(this.href).pathname}`);
    });
    server.add('images', ['train'], 'directory');
    await show('images');
    const label = 'Download as zip';
    server.intercept = ({ path }) => (path.includes('download') ? failure(413, 'too large') : undefined);
    expect(menuOf('train')).toEqual([
      'Open',
      label,
      'Copy Path',
      'Copy Pachyderm File URI',
      'Copy Code Snippet'
    ]);
    chooseItem(label);
    expect(await screen.findByTestId('Files__failure')).toHaveTextContent('too large');
    expect(saved).toEqual([]);
    const asked: string[] = [];
    server.intercept = ({ path, query }) => {
      if (path.includes('download')) {
        asked.push(`${path.slice(path.indexOf('download'))} ${query}`);
        return { status: 200, body: { files: 2, size_bytes: 2048 } };
      }
      return undefined;
    };
    menuOf('train');
    chooseItem(label);
    expect(await screen.findByText('Downloading 2 files, 2.0 KiB')).toBeInTheDocument();
    expect(asked).toEqual(['download/images/train content=0']);
    expect(saved).toEqual(['train.zip /pachyderm/v2/download/images/train']);
  });

  it('offers the download of a file that is too large to open', async () => {
    server.directories.set('images', [entryOf('images/big.bin', 'file', 60 * 2 ** 20)]);
    await show('images');
    server.intercept = () => failure(413, 'big.bin is too large to be opened', 'download it');
    fireEvent.doubleClick(screen.getByText('big.bin'));
    expect(await screen.findByTestId('Files__failure')).toHaveTextContent('too large to be opened');
    expect(screen.getByTestId('Files__downloadInstead')).toHaveTextContent('Download big.bin (60.0 MiB)');
    expect(opened).toEqual([]);
  });

  it('renames in place, and shows why it could not', async () => {
    const list = await show('results');
    act(() => list.focus());
    await user.keyboard('{F2}');
    await user.clear(screen.getByTestId('Files__rename'));
    server.intercept = ({ method }) => (method === 'PATCH' ? failure(409, 'new.txt exists') : undefined);
    await user.keyboard('new.txt{Enter}');
    expect(await screen.findByTestId('Files__failure')).toHaveTextContent('new.txt exists');
    expect(list).toHaveFocus();
    const patches = server.requests.filter(({ method }) => method === 'PATCH');
    expect(patches.map(({ path, body }) => [path, body])).toEqual([
      ['results/r.txt', { path: 'results/new.txt' }]
    ]);
  });

  it('deletes only what the user agrees to', async () => {
    const list = await show('results');
    act(() => list.focus());
    answerDialog(false);
    await user.keyboard('{Delete}');
    expect(server.requests.some(({ method }) => method === 'DELETE')).toBe(false);
    answerDialog(true);
    await user.keyboard('{Delete}');
    await waitFor(() => expect(server.requests.some(({ method }) => method === 'DELETE')).toBe(true));
  });

  it('uploads in chunks, and asks before it replaces', async () => {
    await show('results');
    const input = screen.getByTestId('Files__uploadInput');
    await user.upload(input, new File([new Uint8Array(2 * CHUNK + 1)], 'new.bin'));
    await waitFor(() => expect(screen.queryByTestId('Files__uploading')).toBeNull());
    const sent = () => server.requests.filter(({ method }) => method === 'PUT');
    expect(sent().map(({ path, body }) => [path, body.chunk])).toEqual([
      ['results/new.bin', 1],
      ['results/new.bin', 2],
      ['results/new.bin', -1]
    ]);
    answerDialog(false);
    await user.upload(input, new File(['x'], 'r.txt'));
    await waitFor(() => expect(screen.queryByTestId('Files__uploading')).toBeNull());
    expect(sent()).toHaveLength(3);
  });

  it('shows why an upload failed, and leaves no half a file', async () => {
    await show('results');
    server.intercept = ({ method, body }) =>
      method === 'PUT' && body.chunk === 2 ? failure(507, 'no space left') : undefined;
    const file = new File([new Uint8Array(2 * CHUNK + 1)], 'new.bin');
    await user.upload(screen.getByTestId('Files__uploadInput'), file);
    expect(await screen.findByTestId('Files__uploadError')).toHaveTextContent('no space left');
    expect(
      server.requests.some(({ method, path }) => method === 'DELETE' && path === 'results/new.bin')
    ).toBe(true);
  });
});

function menuItems(): string[] {
  const items = document.querySelectorAll('.lm-Menu-item[data-type="command"]:not(.lm-mod-hidden)');
  return [...items].map(item => item.querySelector('.lm-Menu-itemLabel')!.textContent!);
}

/** Choose an item of the open menu by keys: nothing has a place on the page here. */
function chooseItem(label: string): void {
  const menu = document.querySelector('.lm-Menu')!;
  for (let down = 0; down <= menuItems().indexOf(label); down++) {
    fireEvent.keyDown(menu, { keyCode: 40 });
  }
  fireEvent.keyDown(menu, { keyCode: 13 });
}
