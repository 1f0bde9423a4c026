import '@testing-library/jest-dom';
import React from 'react';
import { act, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';

import type { IDatumFile, IDatumStatus } from '../../api';
import type { IContext } from '../../context';
import { someContext } from '../../testing/context';
import {
  failed,
  FakeServer,
  someDatum,
  someMount,
  someState,
  someStatus,
  type Answer
} from '../../testing/server';
import { TestView } from '../TestView';

const copied: string[] = [];
jest.mock('@jupyterlab/apputils', () => ({
  Clipboard: { copyToSystem: (text: string) => copied.push(text) }
}));

const MOUNTS = [someMount('images')];
let datum: IDatumStatus | null;
let mounts = MOUNTS;
let server: FakeServer;

async function show(answers: Record<string, Answer> = {}): Promise<IContext> {
  server = new FakeServer({
    'GET state': () => someState({ status: someStatus({ mounts, datum }) }),
    'GET repos': () => [],
    'GET projects': () => [],
    'PUT datums/_mount': () => (datum = someDatum()),
    'PUT _show_datum': ({ route }) => (datum = someDatum({ idx: Number(/idx=(\d+)/.exec(route)?.[1] ?? 0) })),
    'PUT datums/_unmount': () => ({ num_datums: (datum = null) }),
    ...answers
  });
  const context = someContext();
  context.shown.view = 'test';
  render(<TestView {...context} />);
  await act(() => context.model.refreshState());
  return context;
}

function files(number: number): IDatumFile[] {
  return Array.from({ length: number }, (_, index) => ({
    input: 'images',
    project: 'default',
    repo: 'images',
    branch: 'master',
    commit: 'abc',
    path: `/sub/${index}.png`,
    type: 'file',
    size_bytes: 2048,
    hash: ''
  }));
}

const editor = () => screen.getByTestId<HTMLTextAreaElement>('Datum__inputSpecInput');
const load = () => userEvent.click(screen.getByTestId('Datum__mountDatums'));

beforeEach(() => {
  localStorage.clear();
  copied.length = 0;
  datum = null;
  mounts = MOUNTS;
});

afterEach(() => jest.restoreAllMocks());

it('loads datums and steps through them; the browser goes to its root each time', async () => {
  const { shown } = await show();
  shown.directory = 'images';
  await waitFor(() => expect(editor()).toHaveValue('pfs:\n  name: images\n  repo: images\n  glob: /\n'));
  await load();
  expect(await screen.findByText('(1/6)')).toBeVisible();
  expect(shown.directory).toBe('');
  shown.directory = 'images';
  await userEvent.click(screen.getByTestId('Datum__cyclerRight'));
  expect(await screen.findByText('(2/6)')).toBeVisible();
  await waitFor(() => expect(shown.directory).toBe(''));
});

it('says at which end it is', async () => {
  datum = someDatum();
  await show();
  await userEvent.click(await screen.findByTestId('Datum__cyclerLeft'));
  expect(screen.getByText('This is the first datum.')).toBeVisible();
  expect(server.sent('PUT')).toEqual([]);
});

it('counts while datums are listed, and tells if that ended early', async () => {
  datum = someDatum({ num_datums: 100, received: 100, matched: 2500, all_datums_received: false });
  const { model } = await show();
  expect(await screen.findByText('(1/100+)')).toBeVisible();
  expect(screen.getByText(/matched 2,500 so far, 100 datums are known/)).toBeVisible();
  datum = { ...datum, error: { id: 'x', error: 'the cluster does not answer', why: '', hint: 'try again' } };
  await act(() => model.refreshState());
  expect(await screen.findByTestId('Datum__listErrorMessage')).toHaveTextContent(
    'ended early: the cluster does not answer'
  );
  expect(screen.queryByText(/so far/)).toBeNull();
});

it('complains about the syntax with the line while typing', async () => {
  await show();
  await userEvent.clear(editor());
  await userEvent.type(editor(), 'pfs:{enter}  repo: images{enter} glob: /');
  const message = await screen.findByTestId('Datum__errorMessage');
  expect(message).toHaveTextContent(/Not valid YAML or JSON, line 3/);
  expect(editor()).toBeInvalid();
  await userEvent.click(screen.getByText('Go to line 3'));
  expect(editor().value.slice(editor().selectionStart, editor().selectionEnd)).toBe(' glob: /');
});

it("shows the daemon's refusal in place until the text is edited", async () => {
  await show({ 'PUT datums/_mount': () => failed(400, 'repo must be specified', 'pfs, line 2', 'name one') });
  await load();
  const message = await screen.findByTestId('Datum__errorMessage');
  expect(message).toHaveTextContent('repo must be specified — pfs, line 2');
  expect(message).toHaveTextContent('name one');
  await userEvent.type(editor(), ' ');
  expect(screen.queryByTestId('Datum__errorMessage')).toBeNull();
});

it('goes back to the mounts and keeps what was typed', async () => {
  const { shown } = await show();
  await userEvent.clear(editor());
  await userEvent.type(editor(), 'pfs: x');
  await load();
  await userEvent.click(await screen.findByTestId('Datum__back'));
  await waitFor(() => expect(shown.view).toBe('explore'));
  expect(server.sent('PUT')).toEqual(['datums/_mount pfs: x', 'datums/_unmount']);
  expect(editor()).toHaveValue('pfs: x');
});

it('takes the spec of the mounts again on request', async () => {
  await show();
  await userEvent.type(editor(), '#');
  await userEvent.click(screen.getByText('Spec of the mounts'));
  expect(editor()).toHaveValue('pfs:\n  name: images\n  repo: images\n  glob: /\n');
  expect(editor()).toHaveFocus();
});

it('says before what becomes of changes that are not committed', async () => {
  const staged = {
    files: 2,
    bytes: 10,
    limit: 100,
    committing: '' as const,
    committing_files: 0,
    committing_total_files: 0,
    committing_bytes: 0,
    committing_total_bytes: 0
  };
  mounts = [someMount('work', { mode: 'rw', staged })];
  await show();
  const notice = await screen.findByTestId('Datum__staged');
  expect(notice).toHaveTextContent('work: 2 changes');
  expect(notice).toHaveTextContent('they are kept');
});

it('lists the files of a datum a page at a time, and leads to them and to out', async () => {
  datum = someDatum({ files: files(120) });
  const { shown } = await show();
  const list = within(await screen.findByRole('region', { name: 'Files of the datum' }));
  expect(list.getAllByRole('listitem')).toHaveLength(50);
  expect(list.getByText('120 files')).toBeVisible();
  await userEvent.click(list.getByLabelText('Files after'));
  expect(list.getByText('51 to 100 of 120')).toBeVisible();
  await userEvent.click(list.getByTitle('/pfs/images/sub/50.png'));
  expect(shown.directory).toBe('images/sub');
  await userEvent.click(list.getByTestId('Datum__out'));
  expect(shown.directory).toBe('out');
});

it('shows a datum by its id, whose refusal stands there, and copies the id', async () => {
  datum = someDatum();
  await show({ 'PUT _show_datum': () => failed(400, 'specify a valid datum id', "there is no datum 'x'") });
  await userEvent.type(await screen.findByTestId('Datum__indexInput'), ' x {enter}');
  expect(await screen.findByTestId('Datum__stepErrorMessage')).toHaveTextContent("there is no datum 'x'");
  expect(server.sent('PUT')).toEqual(['_show_datum?id=x']);
  await userEvent.click(screen.getByLabelText('Copy the id of the datum'));
  expect(copied).toEqual([someDatum().id]);
});

it('asks for nothing without a spec or a cluster', async () => {
  mounts = [];
  await show();
  await load();
  expect(screen.getByTestId('Datum__mountDatums')).toHaveAttribute('aria-disabled', 'true');
  expect(server.sent('PUT')).toEqual([]);
});

it('refuses a number that no datum has', async () => {
  datum = someDatum();
  await show();
  await userEvent.type(await screen.findByTestId('Datum__indexInput'), '7{enter}');
  expect(screen.getByText('There are the datums 1 to 6.')).toBeVisible();
  expect(server.sent('PUT')).toEqual([]);
});
