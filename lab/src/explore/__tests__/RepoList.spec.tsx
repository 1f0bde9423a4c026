import '@testing-library/jest-dom';
import { act, fireEvent, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';

import type { IRepo } from '../../api';
import { CommandIDs } from '../../context';
import { failed, someDatum, someMount } from '../../testing/server';
import { REPOS_AGE } from '../../model';
import { showExplore } from './setting';

function someRepo(repo: string, more: Partial<IRepo> = {}): IRepo {
  return { project: 'default', repo, branches: ['master'], authorization: 'off', ...more };
}

const IMAGES = someRepo('images', { branches: ['dev', 'master'] });
const COMMIT = {
  commit: '5e9c9fb3b06d4622b1086ce1a42aabd2',
  branch: '',
  parent: '',
  description: 'first',
  started: 1795883674,
  finished: 1795883674,
  state: 'finished',
  error: '',
  size_bytes: 14
};

jest.mock('@jupyterlab/apputils', () => ({ Clipboard: {}, InputDialog: {} }));

// userEvent.selectOptions needs more of a selection than the tests of JupyterLab have
const choose = (select: HTMLElement, value: string) => fireEvent.change(select, { target: { value } });
const rows = () => within(screen.getByTestId('Repos__list')).queryAllByRole('listitem');
const texts = () => rows().map(row => row.querySelector('.pach-Repo-name')?.textContent);

afterEach(() => jest.restoreAllMocks());

it('lists repositories, sorts them, and filters by project and words', async () => {
  await showExplore({
    repos: [someRepo('run10'), someRepo('run2'), someRepo('cats', { project: 'photos' })],
    projects: ['default', 'photos', 'empty']
  });
  expect(texts()).toEqual(['default/run2', 'default/run10', 'photos/cats']);
  await userEvent.click(screen.getByTestId('Repos__sort'));
  expect(texts()).toEqual(['photos/cats', 'default/run10', 'default/run2']);
  const select = screen.getByTestId('ProjectList__select');
  expect([...select.querySelectorAll('option')].map(option => option.textContent)).toEqual([
    'All projects',
    'default',
    'empty',
    'photos'
  ]);
  choose(select, 'photos');
  expect(texts()).toEqual(['photos/cats']);
  choose(select, 'empty');
  expect(screen.getByTestId('Repos__count')).toHaveTextContent('0 repositories found');
  choose(select, '');
  await userEvent.type(screen.getByTestId('Repos__search'), 'RUN');
  expect(texts()).toEqual(['default/run10', 'default/run2']);
});

it('tells what cannot be mounted: no access, no branches', async () => {
  await showExplore({
    repos: [
      someRepo('empty', { branches: [] }),
      someRepo('secret', { authorization: 'none', branches: null })
    ]
  });
  expect(screen.getByTestId('ListItem__noBranches')).toHaveTextContent('No branches');
  expect(screen.getByTestId('ListItem__unauthorized')).toHaveTextContent('No read access');
  expect(screen.queryByTestId('ListItem__mount')).toBeNull();
});

describe('mounting', () => {
  it('takes master, and the name of the original', async () => {
    const setting = await showExplore({ repos: [IMAGES] }, { 'PUT _mount': () => ({}) });
    expect(screen.getByTestId('ListItem__select')).toHaveValue('master');
    setting.status = { mounts: [someMount('default_images', { repo: 'images' })] };
    await userEvent.click(screen.getByTestId('ListItem__mount'));
    expect(setting.server.sent('PUT')).toEqual([
      '_mount {"mounts":[{"name":"default_images","project":"default","repo":"images","branch":"master","mode":"ro"}]}'
    ]);
    await waitFor(() =>
      expect(screen.getByTestId('ListItem__mount')).toHaveAttribute('title', 'Mounted as default_images')
    );
    expect(screen.getByTestId('ListItem__mount')).toHaveAttribute('aria-disabled', 'true');
    expect(screen.getByTestId('ListItem__mount')).toHaveFocus();
  });

  it('takes the branch that is chosen', async () => {
    const { server } = await showExplore({ repos: [IMAGES] }, { 'PUT _mount': () => ({}) });
    choose(screen.getByTestId('ListItem__select'), 'dev');
    await userEvent.click(screen.getByTestId('ListItem__mount'));
    expect(server.sent('PUT')[0]).toContain('"name":"default_images_dev"');
    expect(server.sent('PUT')[0]).toContain('"branch":"dev"');
  });

  it('is greyed for a branch that is mounted, and not for another', async () => {
    await showExplore({ repos: [IMAGES], status: { mounts: [someMount('mine', { repo: 'images' })] } });
    expect(screen.getByTestId('ListItem__mount')).toHaveAttribute('title', 'Mounted as mine');
    expect(screen.getByTestId('ListItem__mount')).toHaveAttribute('aria-disabled', 'true');
    choose(screen.getByTestId('ListItem__select'), 'dev');
    expect(screen.getByTestId('ListItem__mount')).toHaveAttribute('aria-disabled', 'false');
  });

  it('takes another name, read-write', async () => {
    const { server } = await showExplore({ repos: [IMAGES] }, { 'PUT _mount': () => ({}) });
    await userEvent.click(screen.getByTestId('ListItem__options'));
    const name = screen.getByTestId('Repo__name');
    expect(name).toHaveValue('default_images');
    await userEvent.clear(name);
    await userEvent.type(name, 'work');
    await userEvent.click(screen.getByTestId('Repo__rw'));
    expect(screen.getByTestId('Repo__follow')).toBeDisabled();
    await userEvent.click(screen.getByTestId('Repo__mount'));
    expect(server.sent('PUT')[0]).toContain('"name":"work"');
    expect(server.sent('PUT')[0]).toContain('"mode":"rw"');
  });

  it('tells what is wrong with a name', async () => {
    const { server } = await showExplore({ repos: [IMAGES] });
    await userEvent.click(screen.getByTestId('ListItem__options'));
    await userEvent.type(screen.getByTestId('Repo__name'), ' x{Enter}');
    expect(screen.getByTestId('Repo__reason')).toHaveTextContent('make a name');
    expect(screen.getByTestId('Repo__mount')).toHaveAttribute('aria-disabled', 'true');
    expect(server.sent('PUT')).toEqual([]);
  });

  it('follows the branch', async () => {
    const { server } = await showExplore({ repos: [IMAGES] }, { 'PUT _mount': () => ({}) });
    await userEvent.click(screen.getByTestId('ListItem__options'));
    await userEvent.click(screen.getByTestId('Repo__follow'));
    await userEvent.click(screen.getByTestId('Repo__mount'));
    expect(server.sent('PUT')[0]).toContain('"follow":true');
  });

  it('takes another commit of the branch', async () => {
    const { server } = await showExplore(
      { repos: [IMAGES] },
      { 'GET commits': () => [COMMIT], 'PUT _mount': () => ({}) }
    );
    await userEvent.click(screen.getByTestId('ListItem__options'));
    await screen.findByRole('option', { name: /5e9c9fb3.*first/ });
    expect(server.requests.some(({ route }) => /commits\?.*repo=images&branch=master/.test(route))).toBe(
      true
    );
    choose(screen.getByTestId('Repo__commit'), COMMIT.commit);
    expect(screen.getByTestId('Repo__rw')).toBeDisabled();
    await userEvent.click(screen.getByTestId('Repo__mount'));
    expect(server.sent('PUT')[0]).toContain('"name":"default_images_5e9c9fb3"');
    expect(server.sent('PUT')[0]).toContain(`"commit":"${COMMIT.commit}"`);
  });

  it('offers no read-write without the right to write', async () => {
    await showExplore({ repos: [someRepo('images', { authorization: 'read' })] });
    await userEvent.click(screen.getByTestId('ListItem__options'));
    expect(screen.getByTestId('Repo__rw')).toBeDisabled();
  });

  it("that fails tells the daemon's sentence on the row, until it is dismissed", async () => {
    await showExplore(
      { repos: [IMAGES, someRepo('other')] },
      { 'PUT _mount': () => failed(500, 'cannot mount', 'the directory is not empty') }
    );
    await userEvent.click(screen.getByRole('button', { name: 'Mount default/images' }));
    const row = within(screen.getByTestId('Repo__default/images'));
    expect(await row.findByRole('alert')).toHaveTextContent('cannot mount — the directory is not empty');
    expect(screen.getAllByRole('alert')).toHaveLength(1);
    await userEvent.click(row.getByRole('button', { name: 'Dismiss' }));
    expect(screen.queryByRole('alert')).toBeNull();
  });

  it('is not possible while datums are shown', async () => {
    await showExplore({ repos: [IMAGES], status: { datum: someDatum() } });
    expect(screen.getByTestId('ListItem__mount')).toHaveAttribute('aria-disabled', 'true');
  });

  it('is a command', async () => {
    const { context, server } = await showExplore({ repos: [IMAGES] }, { 'PUT _mount': () => ({}) });
    await act(() =>
      context.commands.execute(CommandIDs.mountRepo, { repo: 'images', branch: 'dev', mode: 'rw' })
    );
    expect(server.sent('PUT')).toEqual([
      '_mount {"mounts":[{"name":"default_images_dev","project":"default","repo":"images","branch":"dev","mode":"rw"}]}'
    ]);
    await act(() => context.commands.execute(CommandIDs.mountRepo));
    expect(screen.getByTestId('Repos__search')).toHaveFocus();
  });
});

it('browses without a mount', async () => {
  const { context } = await showExplore({ repos: [IMAGES] });
  choose(screen.getByTestId('ListItem__select'), 'dev');
  await userEvent.click(screen.getByTestId('ListItem__options'));
  await userEvent.click(screen.getByTestId('Repo__browse'));
  expect(context.shown.directory).toBe('@/default/images/dev');
});

it('offers browsing first where nothing can be mounted, and tells why', async () => {
  const { context } = await showExplore({
    repos: [IMAGES],
    state: { fuse: { available: false, reason: 'no /dev/fuse' } }
  });
  expect(screen.queryByTestId('ListItem__mount')).toBeNull();
  await userEvent.click(screen.getByTestId('ListItem__browse'));
  expect(context.shown.directory).toBe('@/default/images/master');
  await userEvent.click(screen.getByTestId('ListItem__options'));
  expect(screen.getByTestId('Repo__mount')).toHaveAttribute('aria-disabled', 'true');
  expect(screen.getByTestId('Repo__reason')).toHaveTextContent('no /dev/fuse');
});

it('shows many repositories by and by', async () => {
  await showExplore({ repos: Array.from({ length: 2000 }, (_, index) => someRepo(`run${index}`)) });
  expect(rows()).toHaveLength(100);
  await userEvent.click(screen.getByTestId('Repos__more'));
  expect(rows()).toHaveLength(200);
  await waitFor(() => expect(rows()[100].contains(document.activeElement)).toBe(true));
});

it('tells how an empty cluster is filled', async () => {
  await showExplore();
  expect(screen.getByTestId('Repos__none')).toHaveTextContent('pachmount import ./photos images');
});

describe('the list is made anew', () => {
  const listed = (server: { requests: { route: string }[] }) =>
    server.requests.filter(({ route }) => route === 'repos').length;

  it('once, when there is a mount of a repository that it lacks', async () => {
    const setting = await showExplore({ repos: [] });
    expect(screen.getByTestId('Repos__none')).toBeVisible();
    const before = listed(setting.server);
    setting.repos = [IMAGES];
    setting.status = { mounts: [someMount('images'), someMount('gone')] };
    await setting.poll();
    await waitFor(() => expect(texts()).toEqual(['default/images']));
    setting.status = { mounts: [someMount('images'), someMount('gone', { behind: 1 })] };
    await setting.poll();
    expect(listed(setting.server)).toBe(before + 1);
  });

  it('or tells that it has none of those that are mounted', async () => {
    const setting = await showExplore({ repos: [] });
    setting.status = { mounts: [someMount('gone')] };
    await setting.poll();
    expect(await screen.findByTestId('Repos__hidden')).toBeVisible();
    expect(screen.queryByTestId('Repos__none')).toBeNull();
  });

  it('when the page comes into sight again after a while', async () => {
    const isShown = jest.spyOn(document, 'visibilityState', 'get');
    const showPage = (state: DocumentVisibilityState) => {
      isShown.mockReturnValue(state);
      fireEvent(document, new Event('visibilitychange'));
    };
    jest.spyOn(Element.prototype, 'getClientRects').mockImplementation(() => [{}] as unknown as DOMRectList);
    const setting = await showExplore({ repos: [] });
    const before = listed(setting.server);
    showPage('hidden');
    showPage('visible');
    expect(listed(setting.server)).toBe(before);
    showPage('hidden');
    const now = Date.now();
    jest.spyOn(Date, 'now').mockReturnValue(now + REPOS_AGE + 1000);
    setting.repos = [IMAGES];
    expect(listed(setting.server)).toBe(before);
    showPage('visible');
    await waitFor(() => expect(texts()).toEqual(['default/images']));
  });
});

it('tells why they cannot be listed, and lists them again', async () => {
  const setting = await showExplore({}, { 'GET repos': () => failed(500, 'the cluster is gone') });
  expect(screen.getByTestId('Repos__error')).toHaveTextContent('the cluster is gone');
  setting.server.answers['GET repos'] = () => [IMAGES];
  await userEvent.click(screen.getByTestId('Repos__refresh'));
  await waitFor(() => expect(rows()).toHaveLength(1));
  expect(screen.queryByTestId('Repos__error')).toBeNull();
});
