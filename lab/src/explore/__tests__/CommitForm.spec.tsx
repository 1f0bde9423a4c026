import '@testing-library/jest-dom';
import { screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';

import type { IChange, IDifference, IStagedStatus } from '../../api';
import { failed, someMount, type Answer } from '../../testing/server';
import { showExplore, type ISetting } from './setting';

jest.mock('@jupyterlab/apputils', () => ({ Clipboard: {}, InputDialog: {} }));

const STAGED = { files: 2, bytes: 2048, limit: 1e9, committing: '' } as IStagedStatus;

function change(path: string, more: Partial<IChange> = {}): IChange {
  return { kind: 'A', path, old_path: '', size_bytes: 2048, old_size_bytes: 0, ...more };
}

function difference(more: Partial<IDifference> = {}): IDifference {
  return {
    changes: [
      change('/new.txt'),
      change('/old.txt', { kind: 'D', size_bytes: 0, old_size_bytes: 4 }),
      change('/b.txt', { kind: 'R', old_path: '/a.txt' })
    ],
    refused: [],
    ignored: [],
    empty_directories: [],
    open_for_writing: [],
    patch: '',
    ...more
  };
}

async function open(answers: Record<string, Answer> = {}): Promise<ISetting> {
  const setting = await showExplore(
    { status: { mounts: [someMount('work', { mode: 'rw', staged: STAGED })] } },
    { 'PUT _diff': () => difference(), 'PUT _commit': () => ({ commit: '519f2a994eba4adb' }), ...answers }
  );
  await userEvent.click(screen.getByTestId('ListItem__commit'));
  await waitFor(() => expect(screen.queryByText('Looking for changes…')).toBeNull());
  return setting;
}

const sent = ({ server }: ISetting) => server.sent('PUT').filter(line => !line.startsWith('_diff'));
const commitButton = () => screen.getByTestId('Commit__commit');

afterEach(() => jest.restoreAllMocks());

it('lists what was changed, with kind and size, and asks for a message', async () => {
  await open();
  const changes = within(screen.getByTestId('Commit__changes')).getAllByRole('listitem');
  expect(changes.map(item => item.textContent)).toEqual([
    'A/new.txt2.0 KiB',
    'D/old.txt4 B',
    'R/a.txt → /b.txt2.0 KiB'
  ]);
  expect(screen.getByRole('img', { name: 'deleted' })).toBeInTheDocument();
  expect(screen.getByLabelText('Message')).toHaveFocus();
});

it('commits with the message, and tells the commit', async () => {
  const setting = await open();
  await userEvent.type(screen.getByLabelText('Message'), 'two files');
  await userEvent.click(commitButton());
  expect(sent(setting)).toEqual([
    '_commit {"mount":"work","message":"two files","skip_invalid":false,"allow_open":false}'
  ]);
  await waitFor(() => expect(screen.queryByTestId('Commit__form')).toBeNull());
  expect(screen.getByTestId('Explore__notice')).toHaveTextContent('Committed work: 519f2a99');
});

it('commits by Ctrl+Enter', async () => {
  const setting = await open();
  await userEvent.type(screen.getByLabelText('Message'), 'x{Control>}{Enter}{/Control}');
  expect(sent(setting)).toHaveLength(1);
});

it('keeps the message when the commit fails, and tells why', async () => {
  await open({ 'PUT _commit': () => failed(409, 'others changed /new.txt', '', 'look at it') });
  await userEvent.type(screen.getByLabelText('Message'), 'mine');
  await userEvent.click(commitButton());
  expect(await screen.findByTestId('ListItem__failure')).toHaveTextContent('others changed /new.txt');
  expect(screen.getByLabelText('Message')).toHaveValue('mine');
});

/** A form whose commit was refused, as the branch of the mount has newer versions unless `behind` is 0. */
async function refuse(behind = 1): Promise<ISetting> {
  const refused = () => failed(409, '1 staged path was changed as well', '/new.txt', '', 'conflict');
  const setting = await open({
    'PUT _diff': () => difference({ ignored: ['/x~'] }),
    'PUT _commit': ({ body }) => (/ours|theirs/.test(body) ? { commit: '519f2a994eba4adb' } : refused())
  });
  setting.status = { mounts: [someMount('work', { mode: 'rw', staged: STAGED, behind })] };
  await userEvent.type(screen.getByLabelText('Message'), 'mine');
  await userEvent.click(commitButton());
  expect(await screen.findByTestId('ListItem__failure')).toHaveTextContent('/new.txt');
  return setting;
}

it('commits over versions of others if that is chosen, with the same message', async () => {
  const setting = await refuse();
  await userEvent.click(await screen.findByText('Keep mine'));
  expect(JSON.parse(sent(setting)[1].replace('_commit ', ''))).toEqual({
    mount: 'work',
    message: 'mine',
    skip_invalid: false,
    allow_open: false,
    ours: true
  });
  await waitFor(() => expect(screen.queryByTestId('Commit__form')).toBeNull());
  expect(screen.getByTestId('Explore__notice')).toHaveTextContent('Committed work: 519f2a99');
});

it('takes the versions of others wherever anything is staged, if that is chosen', async () => {
  const setting = await refuse();
  await userEvent.click(await screen.findByText('Take theirs'));
  const { message, theirs } = JSON.parse(sent(setting)[1].replace('_commit ', ''));
  expect(message).toBe('mine');
  expect(theirs).toEqual(['/new.txt', '/old.txt', '/b.txt', '/a.txt', '/x~']);
});

it('leaves all as it is if nothing is chosen', async () => {
  const setting = await refuse();
  await screen.findByTestId('Conflict__question');
  await userEvent.keyboard('{Escape}');
  expect(screen.queryByTestId('Conflict__question')).toBeNull();
  expect(screen.getByLabelText('Message')).toHaveValue('mine');
  expect(sent(setting)).toHaveLength(1);
});

it('remains when the failure goes, in browsers that scroll with a promise', async () => {
  const scrollIntoView = jest.fn(() => Promise.resolve());
  Object.assign(Element.prototype, { scrollIntoView });
  await refuse();
  await userEvent.click(screen.getByLabelText('Dismiss'));
  expect(scrollIntoView).toHaveBeenCalled();
  expect(screen.queryByTestId('ListItem__failure')).toBeNull();
  expect(screen.getByTestId('Commit__form')).toBeInTheDocument();
  Reflect.deleteProperty(Element.prototype, 'scrollIntoView');
});

it('offers nothing of theirs where the branch is gone', async () => {
  await refuse(0);
  expect(screen.queryByTestId('Conflict__question')).toBeNull();
});

it('commits without what is refused only if that is agreed to', async () => {
  const setting = await open({
    'PUT _diff': () => difference({ refused: [{ path: '/a*b', reason: "'*' is not allowed" }] })
  });
  expect(screen.getByTestId('Commit__refused')).toHaveTextContent("/a*b — '*' is not allowed");
  await userEvent.click(commitButton());
  expect(sent(setting)).toEqual([]);
  await userEvent.click(screen.getByLabelText('Leave them out; they stay here'));
  await userEvent.click(commitButton());
  expect(sent(setting)[0]).toContain('"skip_invalid":true');
});

it('commits what is open for writing only if that is agreed to', async () => {
  const setting = await open({ 'PUT _diff': () => difference({ open_for_writing: ['/log.txt'] }) });
  await userEvent.click(commitButton());
  expect(sent(setting)).toEqual([]);
  await userEvent.click(screen.getByLabelText('Commit them as they are'));
  await userEvent.click(commitButton());
  expect(sent(setting)[0]).toContain('"allow_open":true');
});

it('discards what is selected, after a question', async () => {
  const setting = await open({ 'PUT _discard': () => ({}) });
  await userEvent.click(screen.getByLabelText(/new\.txt/));
  await userEvent.click(screen.getByText('Discard 1 selected change…'));
  expect(sent(setting)).toEqual([]);
  await userEvent.click(screen.getByTestId('Discard__yes'));
  expect(sent(setting)).toEqual(['_discard {"mount":"work","paths":["/new.txt"]}']);
});

it('discards all, unless the question is cancelled', async () => {
  const setting = await open({ 'PUT _discard': () => ({}) });
  await userEvent.click(screen.getByText('Discard all…'));
  await userEvent.click(screen.getByTestId('Discard__questionCancel'));
  expect(sent(setting)).toEqual([]);
  await userEvent.click(screen.getByText('Discard all…'));
  await userEvent.click(screen.getByTestId('Discard__yes'));
  expect(sent(setting)).toEqual(['_discard {"mount":"work","paths":[]}']);
});

it('looks again when there are other changes, and keeps the message', async () => {
  const setting = await open();
  await userEvent.type(screen.getByLabelText('Message'), 'mine');
  setting.server.answers['PUT _diff'] = () => difference({ changes: [change('/later.txt')] });
  setting.status = { mounts: [someMount('work', { mode: 'rw', staged: { ...STAGED, files: 3 } })] };
  await setting.poll();
  expect(await screen.findByText('/later.txt')).toBeInTheDocument();
  expect(screen.getByLabelText('Message')).toHaveValue('mine');
});

it('shows many changes by and by', async () => {
  const changes = Array.from({ length: 450 }, (_, index) => change(`/${index}.txt`));
  await open({ 'PUT _diff': () => difference({ changes }) });
  const number = () => within(screen.getByTestId('Commit__changes')).getAllByRole('listitem').length;
  expect(number()).toBe(200);
  await userEvent.click(screen.getByText('Show more (250)'));
  expect(number()).toBe(400);
});

it('tells why the changes cannot be listed', async () => {
  await open({ 'PUT _diff': () => failed(500, 'the branch cannot be read') });
  expect(screen.getByTestId('Commit__error')).toHaveTextContent('the branch cannot be read');
  expect(commitButton()).toHaveAttribute('aria-disabled', 'true');
});

it('looks again when it is asked to, as the daemon does not tell of what is deleted', async () => {
  const setting = await open();
  setting.server.answers['PUT _diff'] = () => difference({ changes: [change('/gone.txt', { kind: 'D' })] });
  await userEvent.click(screen.getByTestId('Commit__again'));
  expect(await screen.findByText('/gone.txt')).toBeInTheDocument();
});

it('closes by Escape, and the focus stays on the row', async () => {
  await open();
  await userEvent.keyboard('{Escape}');
  expect(screen.queryByTestId('Commit__form')).toBeNull();
  expect(screen.getByTestId('ListItem__menu')).toHaveFocus();
});
