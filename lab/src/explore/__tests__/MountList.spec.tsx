import '@testing-library/jest-dom';
import { act, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';

import type { IStagedStatus, IWarmupStatus } from '../../api';
import { CommandIDs } from '../../context';
import { failed, FakeServer, someDatum, someMount } from '../../testing/server';
import { showExplore } from './setting';

const copied: string[] = [];
const asked: string[][] = [];
jest.mock('@jupyterlab/apputils', () => ({
  Clipboard: { copyToSystem: (text: string) => copied.push(text) },
  InputDialog: {
    getItem: async ({ items }: { items: string[] }) => {
      asked.push(items);
      return { value: items[items.length - 1] };
    }
  }
}));

const STAGED: IStagedStatus = {
  files: 2,
  bytes: 2048,
  limit: 1e9,
  committing: '',
  committing_files: 0,
  committing_total_files: 0,
  committing_bytes: 0,
  committing_total_bytes: 0
};
const WARMUP: IWarmupStatus = {
  id: '7',
  mounts: ['images'],
  state: 'fetching',
  total_files: 10,
  total_bytes: 1000,
  done_files: 4,
  done_bytes: 400,
  error: null
};

const CHANGED = { changes: [{ kind: 'D', path: '/a' }], refused: [] };
const unmounted = (server: FakeServer) => server.sent('PUT').filter(line => line.startsWith('_unmount'));
const row = (name: string) => within(screen.getByTestId(`Mount__${name}`));
const written = (more = {}) => someMount('work', { mode: 'rw', staged: STAGED, ...more });

beforeEach(() => {
  copied.length = 0;
  asked.length = 0;
});
afterEach(() => jest.restoreAllMocks());

describe('a row', () => {
  it('tells name, branch, mode and state, in natural order', async () => {
    await showExplore({
      status: { mounts: [someMount('run10'), someMount('run2', { status: 'up to date', branch: 'dev' })] }
    });
    expect(screen.getAllByTestId('ListItem__repo').map(name => name.textContent)).toEqual(['run2', 'run10']);
    expect(screen.getByTestId('Mount__run2')).toHaveTextContent('@ dev');
    expect(row('run2').getByTestId('ListItem__mode')).toHaveTextContent('ro');
    expect(row('run2').getByTestId('ListItem__status')).toHaveAttribute('title', 'mounted: up to date');
    expect(row('run2').getByTestId('ListItem__repo')).toHaveAttribute('title', 'run2');
  });

  it.each([
    [0, 'up to date'],
    [1, '1 commit behind'],
    [2, '2 commits behind']
  ])('tells that it is %s behind', async (behind, text) => {
    await showExplore({ status: { mounts: [someMount('images', { behind })] } });
    expect(screen.getByTestId('ListItem__commitBehindness')).toHaveTextContent(text);
    expect(screen.queryAllByTestId('ListItem__update')).toHaveLength(behind > 0 ? 1 : 0);
  });

  it('of a commit that stays tells the commit', async () => {
    await showExplore({ status: { mounts: [someMount('images', { branch: '', behind: -1 })] } });
    expect(screen.getByTestId('Mount__images')).toHaveTextContent('@ 29e4fdb4');
    expect(screen.queryByTestId('ListItem__follow')).toBeNull();
  });

  it.each(['mounting', 'unmounting'])('can do nothing while it is %s', async state => {
    const { context, server } = await showExplore({ status: { mounts: [someMount('images', { state })] } });
    expect(screen.getByTestId('Mount__images')).toHaveTextContent(state);
    for (const id of ['ListItem__repo', 'ListItem__unmount', 'ListItem__follow']) {
      expect(screen.getByTestId(id)).toHaveAttribute('aria-disabled', 'true');
      await userEvent.click(screen.getByTestId(id));
    }
    expect(context.shown.directory).toBe('');
    expect(server.sent('PUT')).toEqual([]);
  });

  it('with an error tells it, and can be unmounted', async () => {
    const error = { id: 'not-found', error: 'branch gone', why: 'deleted', hint: 'mount another' };
    await showExplore({ status: { mounts: [someMount('images', { state: 'error', error })] } });
    const alert = row('images').getByRole('alert');
    expect(alert).toHaveTextContent('branch gone — deleted');
    expect(alert).toHaveTextContent('mount another');
    expect(screen.getByTestId('ListItem__repo')).toHaveAttribute('aria-disabled', 'true');
    expect(screen.getByTestId('ListItem__unmount')).toHaveAttribute('aria-disabled', 'false');
  });

  it('shows its files when its name is clicked', async () => {
    const { context } = await showExplore({ status: { mounts: [someMount('images')] } });
    await userEvent.click(screen.getByTestId('ListItem__repo'));
    expect(context.shown.directory).toBe('images');
  });

  it('tells its note', async () => {
    await showExplore({ status: { mounts: [someMount('images', { note: 'the branch is gone' })] } });
    expect(screen.getByText('the branch is gone')).toBeInTheDocument();
  });
});

it('updates to the newest commit by a click', async () => {
  const setting = await showExplore(
    { status: { mounts: [someMount('images', { behind: 1 })] } },
    { 'PUT _refresh': () => ({}) }
  );
  setting.status = { mounts: [someMount('images')] };
  await userEvent.click(screen.getByTestId('ListItem__update'));
  expect(setting.server.sent('PUT')).toEqual(['_refresh {"mounts":[{"name":"images","commit":""}]}']);
  expect(await screen.findByText('up to date')).toBeInTheDocument();
  expect(screen.getByTestId('Explore__notice')).toHaveTextContent('images shows the newest commit');
});

it('updates all that are behind', async () => {
  const mounts = [someMount('a', { behind: 1 }), someMount('b'), someMount('c', { behind: 2 })];
  const { server } = await showExplore({ status: { mounts } }, { 'PUT _refresh': () => ({}) });
  await userEvent.click(screen.getByTestId('Mounts__updateAll'));
  await waitFor(() => expect(server.sent('PUT')).toHaveLength(2));
  expect(server.sent('PUT').join()).toMatch(/"a".*"c"/);
});

it('follows and stops following', async () => {
  const setting = await showExplore(
    { status: { mounts: [someMount('images')] } },
    { 'PUT _follow': () => ({}) }
  );
  const button = screen.getByRole('switch', { name: 'images follows its branch' });
  expect(button).toHaveAttribute('aria-checked', 'false');
  setting.status = { mounts: [someMount('images', { follow: true })] };
  await userEvent.click(button);
  expect(setting.server.sent('PUT')).toEqual(['_follow {"mounts":["images"],"follow":true}']);
  await waitFor(() => expect(button).toHaveAttribute('aria-checked', 'true'));
});

describe('unmounting', () => {
  it('sends the name; the focus stays in the list', async () => {
    const setting = await showExplore(
      { status: { mounts: [someMount('images')] } },
      { 'PUT _unmount': () => ({}) }
    );
    setting.status = { mounts: [] };
    await userEvent.click(screen.getByTestId('ListItem__unmount'));
    expect(setting.server.sent('PUT')).toEqual([
      '_unmount {"mounts":["images"],"staged":"keep","message":""}'
    ]);
    expect(await screen.findByTestId('Mounts__none')).toBeInTheDocument();
    expect(screen.getByRole('heading', { name: 'Mounted' })).toHaveFocus();
  });

  it.each([
    ['Commit', 'commit'],
    ['Keep for the next mount', 'keep'],
    ['Discard', 'discard']
  ])('with changes asks: %s', async (label, staged) => {
    const { server } = await showExplore(
      { status: { mounts: [written()] } },
      { 'PUT _unmount': () => ({}), 'PUT _diff': () => CHANGED }
    );
    await userEvent.click(screen.getByTestId('ListItem__unmount'));
    expect(await screen.findByTestId('Unmount__question')).toHaveTextContent(
      'Changes in work are not committed'
    );
    expect(unmounted(server)).toEqual([]);
    await userEvent.click(screen.getByRole('button', { name: label }));
    expect(unmounted(server)).toEqual([`_unmount {"mounts":["work"],"staged":"${staged}","message":""}`]);
  });

  it('with changes can be left alone', async () => {
    const { server } = await showExplore({ status: { mounts: [written()] } }, { 'PUT _diff': () => CHANGED });
    await userEvent.click(screen.getByTestId('ListItem__unmount'));
    await screen.findByTestId('Unmount__question');
    await userEvent.keyboard('{Escape}');
    expect(screen.queryByTestId('Unmount__question')).toBeNull();
    expect(unmounted(server)).toEqual([]);
    expect(screen.getByTestId('ListItem__menu')).toHaveFocus();
  });

  it('asks as well when the changes cannot be listed', async () => {
    const { server } = await showExplore(
      { status: { mounts: [written()] } },
      { 'PUT _diff': () => failed(500, 'unreadable') }
    );
    await userEvent.click(screen.getByTestId('ListItem__unmount'));
    expect(await screen.findByTestId('Unmount__question')).toBeInTheDocument();
    expect(unmounted(server)).toEqual([]);
  });

  it('of a mount that nothing was changed in does not ask', async () => {
    const { server } = await showExplore(
      { status: { mounts: [written()] } },
      { 'PUT _diff': () => ({ changes: [], refused: [] }), 'PUT _unmount': () => ({}) }
    );
    await userEvent.click(screen.getByTestId('ListItem__unmount'));
    await waitFor(() => expect(unmounted(server)).toHaveLength(1));
  });

  it("that fails tells the daemon's sentence until it is dismissed", async () => {
    await showExplore(
      { status: { mounts: [someMount('images')] } },
      { 'PUT _unmount': () => failed(500, 'cannot unmount', 'a file is open', 'close it') }
    );
    await userEvent.click(screen.getByTestId('ListItem__unmount'));
    expect(await row('images').findByTestId('ListItem__failure')).toHaveTextContent(
      'cannot unmount — a file is open'
    );
    await userEvent.click(row('images').getByRole('button', { name: 'Dismiss' }));
    expect(screen.queryByTestId('ListItem__failure')).toBeNull();
  });
});

describe('progress', () => {
  it('of a commit', async () => {
    const staged: IStagedStatus = {
      ...STAGED,
      committing: 'upload',
      committing_files: 1,
      committing_total_files: 2,
      committing_bytes: 1024,
      committing_total_bytes: 2048
    };
    await showExplore({ status: { mounts: [written({ state: 'committing', staged })] } });
    expect(screen.getByTestId('ListItem__commitProgress')).toHaveTextContent(
      'Uploading: 1 of 2 files, 1.0 KiB of 2.0 KiB'
    );
    expect(screen.getByRole('progressbar')).toHaveAttribute('value', '1024');
  });

  it('of a warm-up, which can be cancelled', async () => {
    const { server } = await showExplore(
      { status: { mounts: [someMount('images')], warmups: [WARMUP] } },
      { 'PUT _warmup_cancel': () => ({}) }
    );
    expect(screen.getByTestId('ListItem__warmup')).toHaveTextContent('4 of 10 files');
    await userEvent.click(screen.getByRole('button', { name: 'Cancel warming up images' }));
    expect(server.sent('PUT')).toEqual(['_warmup_cancel {"id":"7"}']);
  });

  it('of a warm-up that failed is the reason, until it is dismissed', async () => {
    const error = { id: 'storage-full', error: 'disk full', why: '', hint: '' };
    await showExplore({
      status: { mounts: [someMount('images')], warmups: [{ ...WARMUP, state: 'failed', error }] }
    });
    const alert = screen.getByTestId('ListItem__warmupFailure');
    expect(alert).toHaveTextContent('disk full');
    await userEvent.click(within(alert).getByRole('button', { name: 'Dismiss' }));
    expect(screen.queryByTestId('ListItem__warmupFailure')).toBeNull();
  });
});

describe('commands', () => {
  it('are in the menu of a row', async () => {
    await showExplore({ status: { mounts: [someMount('images', { behind: 1 })] } });
    await userEvent.click(screen.getByRole('button', { name: 'More actions for images' }));
    const labels = [...document.querySelectorAll('.lm-Menu-itemLabel')].map(item => item.textContent);
    expect(labels.filter(Boolean)).toEqual([
      'Open',
      'Update',
      'Follow the Branch',
      'Commit…',
      'Make Read-Write',
      'Copy Path',
      'Copy Code Snippet',
      'Warm Up the Cache',
      'Unmount'
    ]);
    await userEvent.keyboard('{Escape}');
  });

  it('copy a path and code', async () => {
    const { context } = await showExplore({ status: { mounts: [someMount('images')] } });
    await act(() => context.commands.execute(CommandIDs.copyPath, { name: 'images' }));
    await act(() => context.commands.execute(CommandIDs.copySnippet, { name: 'images' }));
    expect(copied[0]).toBe('/home/ada/pfs/images');
    expect(copied[1]).toContain('Path("/home/ada/pfs/images")');
  });

  it('copy no path where there is none', async () => {
    const { context } = await showExplore({
      status: { mounts: [someMount('images')] },
      state: { fuse: { available: false, reason: 'no /dev/fuse' } }
    });
    expect(context.commands.isEnabled(CommandIDs.copyPath, { name: 'images' })).toBe(false);
  });

  it('make a mount read-write, and warm it up', async () => {
    const { context, server } = await showExplore(
      { status: { mounts: [someMount('images')] } },
      { 'PUT _remount': () => ({}), 'PUT _warmup': () => ({}) }
    );
    await act(() => context.commands.execute(CommandIDs.makeReadWrite, { name: 'images' }));
    await act(() => context.commands.execute(CommandIDs.warmUp, { name: 'images' }));
    expect(server.sent('PUT')).toEqual([
      '_remount {"mounts":["images"],"mode":"rw"}',
      '_warmup {"mounts":[{"name":"images","paths":[]}]}'
    ]);
  });

  it('of the palette take the mount that is shown, or ask', async () => {
    const mounts = ['a', 'b', 'c'].map(name => someMount(name, { behind: name === 'c' ? 0 : 1 }));
    const { context, server } = await showExplore({ status: { mounts } }, { 'PUT _refresh': () => ({}) });
    context.shown.directory = 'a/sub';
    await act(() => context.commands.execute(CommandIDs.updateMount));
    expect(asked).toEqual([]);
    context.shown.directory = '';
    await act(() => context.commands.execute(CommandIDs.updateMount));
    expect(asked).toEqual([['a', 'b']]);
    expect(server.sent('PUT').map(line => /"name":"(.)"/.exec(line)?.[1])).toEqual(['a', 'b']);
  });

  it('that fail show the Explore view, where the reason is', async () => {
    const { context } = await showExplore(
      { status: { mounts: [someMount('images')] } },
      { 'PUT _warmup': () => failed(500, 'the disk is full') }
    );
    context.shown.view = 'test';
    await act(() => context.commands.execute(CommandIDs.warmUp));
    expect(context.shown.view).toBe('explore');
    expect(screen.getByTestId('ListItem__failure')).toHaveTextContent('the disk is full');
  });
});

it('while datums are shown leads to them', async () => {
  const { context } = await showExplore({ status: { datum: someDatum() } });
  expect(screen.queryByTestId('Mounts__none')).toBeNull();
  await userEvent.click(within(screen.getByTestId('Mounts__datums')).getByRole('button'));
  expect(context.shown.view).toBe('test');
});
