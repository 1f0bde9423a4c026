import '@testing-library/jest-dom';
import React from 'react';
import { act, cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';

import type { IServerState } from '../../api';
import type { IContext } from '../../context';
import { someContext } from '../../testing/context';
import {
  failed,
  FakeServer,
  someCluster,
  someMount,
  someState,
  someStatus,
  type Answer
} from '../../testing/server';
import { SettingsView } from '../SettingsView';

const copied: string[] = [];
jest.mock('@jupyterlab/apputils', () => ({
  Clipboard: { copyToSystem: (text: string) => copied.push(text) }
}));

const STAGED = someMount('work', {
  mode: 'rw',
  staged: {
    files: 2,
    bytes: 10,
    limit: 100,
    committing: '',
    committing_files: 0,
    committing_total_files: 0,
    committing_bytes: 0,
    committing_total_bytes: 0
  }
});
const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';

let state: IServerState;
let server: FakeServer;

beforeEach(() => {
  state = someState();
});

afterEach(() => {
  cleanup();
  jest.restoreAllMocks();
  jest.useRealTimers();
});

const withCluster = (more: Parameters<typeof someCluster>[0], mounts = [] as (typeof STAGED)[]) =>
  someState({ status: someStatus({ cluster: someCluster(more), mounts }) });

async function show(answers: Record<string, Answer> = {}): Promise<IContext> {
  server = new FakeServer({
    'GET state': () => state,
    'GET repos': () => [],
    'GET projects': () => [],
    ...answers
  });
  const context = someContext();
  context.shown.view = 'settings';
  render(<SettingsView {...context} />);
  await act(() => context.model.refreshState());
  return context;
}

const element = (id: string) => screen.getByTestId(`Config__${id}`);
const missing = (id: string) => expect(screen.queryByTestId(`Config__${id}`)).toBeNull();
const click = (id: string) => userEvent.click(element(id));
const connected = () => ({ cluster_status: 'AUTH_DISABLED', pachd_address: 'grpc://other:30650' });

async function setAddress(address: string): Promise<void> {
  await click('pachdAddressUpdate');
  await userEvent.type(element('pachdAddressInput'), address);
  await click('pachdAddressSubmit');
}

describe('the cluster', () => {
  it('is shown', async () => {
    await show();
    expect(element('pachdAddress')).toHaveTextContent('grpc://pachd.example:30650');
    expect(element('clusterState')).toHaveTextContent('connected');
    missing('pachdAddressInput');
  });

  it('may be the embedded server', async () => {
    state = withCluster({ embedded: true, address: 'unix:///run/localpfs.sock' });
    await show();
    expect(element('pachdAddress')).toHaveTextContent('the embedded server');
    missing('useEmbedded');
  });

  it('is asked for where there is none, without a way back', async () => {
    state = withCluster({ state: 'none', address: '', version: '' });
    await show();
    expect(element('pachdAddressInput')).toBeInTheDocument();
    expect(element('pachdAddressSubmit')).toBeDisabled();
    expect(element('pachdAddressUpdate')).not.toBeVisible();
    missing('pachdAddressCancel');
    missing('login');
    missing('logout');
  });

  it('tells why it does not answer', async () => {
    const error = { id: 'cluster-unreachable', error: 'no answer', why: 'connection refused', hint: '' };
    state = withCluster({ state: 'unreachable', auth: 'unknown', error });
    await show();
    expect(element('clusterState')).toHaveTextContent('does not answer');
    expect(screen.getByText('no answer — connection refused')).toBeInTheDocument();
  });
});

describe('another address', () => {
  it('is trimmed, and connected to', async () => {
    await show({
      'PUT config': () => (state = withCluster({ address: 'grpc://other:30650' })) && connected()
    });
    await setAddress('  grpc://other:30650 ');
    expect(server.sent('PUT')).toEqual(['config {"pachd_address":"grpc://other:30650","staged":"keep"}']);
    await waitFor(() => expect(element('pachdAddress')).toHaveTextContent('grpc://other:30650'));
    missing('pachdAddressInput');
    expect(element('pachdAddressUpdate')).toHaveFocus();
  });

  it('must have one of five schemes, else nothing is sent', async () => {
    await show();
    await setAddress('other:30650');
    expect(element('addressProblem')).toHaveTextContent(
      'An address begins with grpc://, grpcs://, http://, https://, unix://.'
    );
    expect(element('pachdAddressInput')).toHaveAttribute('aria-invalid', 'true');
    expect(server.sent('PUT')).toEqual([]);
    await userEvent.type(element('pachdAddressInput'), '1');
    missing('addressProblem');
  });

  it('is not sent while it is empty, nor after Cancel', async () => {
    await show();
    await click('pachdAddressUpdate');
    expect(element('pachdAddressInput')).toHaveFocus();
    await userEvent.type(element('pachdAddressInput'), '  ');
    expect(element('pachdAddressSubmit')).toBeDisabled();
    await click('pachdAddressCancel');
    missing('pachdAddressInput');
    expect(server.sent('PUT')).toEqual([]);
  });

  it('is locked while it is tried', async () => {
    let answer: (value: unknown) => void = () => undefined;
    await show({ 'PUT config': () => new Promise(resolve => (answer = resolve)) });
    await setAddress('grpc://other:30650');
    expect(element('pachdAddressSubmit')).toBeDisabled();
    await act(async () => answer(connected()));
    await waitFor(() => missing('pachdAddressInput'));
  });

  it('may be none', async () => {
    await show({ 'PUT config': () => ({ cluster_status: 'INVALID' }) });
    await setAddress('grpc://other:30650');
    expect(await screen.findByText('Invalid address.')).toBeInTheDocument();
    expect(element('pachdAddressInput')).toHaveValue('grpc://other:30650');
  });

  it("may be refused, with the daemon's sentence", async () => {
    await show({ 'PUT config': () => failed(503, 'cannot reach grpc://other:30650', 'timed out') });
    await setAddress('grpc://other:30650');
    expect(await screen.findByTestId('Config__errorMessage')).toHaveTextContent(
      'cannot reach grpc://other:30650 — timed out'
    );
    expect(element('pachdAddress')).toHaveTextContent('grpc://pachd.example:30650');
  });

  it('may have certificates, typed or from a file', async () => {
    await show({ 'PUT config': connected });
    await click('pachdAddressUpdate');
    await click('advancedSettingsToggle');
    await userEvent.type(element('pachdAddressInput'), 'grpcs://other:443');
    fireEvent.change(element('serverCaInput'), { target: { value: 'old' } });
    const file = new File([PEM], 'ca.pem');
    Object.defineProperty(file, 'text', { value: async () => PEM }); // jsdom has none
    await userEvent.upload(element('serverCaFile'), file);
    await waitFor(() => expect(element('serverCaInput')).toHaveValue(PEM));
    await click('pachdAddressSubmit');
    expect(server.sent('PUT')).toEqual([
      `config {"pachd_address":"grpcs://other:443","server_cas":"${btoa(PEM)}","staged":"keep"}`
    ]);
  });

  it('has no certificates after they were cleared', async () => {
    await show({ 'PUT config': connected });
    await click('pachdAddressUpdate');
    await click('advancedSettingsToggle');
    fireEvent.change(element('serverCaInput'), { target: { value: PEM } });
    await userEvent.click(screen.getByRole('button', { name: 'Clear Advanced Settings' }));
    missing('serverCaInput');
    await userEvent.type(element('pachdAddressInput'), 'grpcs://other:443');
    await click('pachdAddressSubmit');
    expect(server.sent('PUT')).toEqual(['config {"pachd_address":"grpcs://other:443","staged":"keep"}']);
  });

  it('can be that of the embedded server', async () => {
    await show({ 'PUT config': connected });
    await click('useEmbedded');
    expect(server.sent('PUT')).toEqual(['config {"embedded":true,"staged":"keep"}']);
  });
});

describe('staged changes', () => {
  beforeEach(() => {
    state = withCluster({ auth: 'logged-in', username: 'user:ada@example.com' }, [STAGED]);
  });

  it.each([
    ['stagedCommit', 'commit'],
    ['stagedKeep', 'keep'],
    ['stagedDiscard', 'discard']
  ])('are asked about before another cluster: %s', async (answer, staged) => {
    await show({ 'PUT config': connected });
    await setAddress('grpc://other:30650');
    expect(server.sent('PUT')).toEqual([]);
    expect(element('question')).toHaveTextContent('2 changed files are not committed');
    expect(element('question')).toHaveFocus();
    await click(answer);
    expect(server.sent('PUT')).toEqual([
      `config {"pachd_address":"grpc://other:30650","staged":"${staged}"}`
    ]);
    await waitFor(() => missing('question'));
  });

  it('are asked about before a logout', async () => {
    await show({ 'PUT auth/_logout': () => new Response('') });
    await click('logout');
    expect(server.sent('PUT')).toEqual([]);
    await click('stagedCommit');
    expect(server.sent('PUT')).toEqual(['auth/_logout {"staged":"commit"}']);
  });

  it('stay as they are if nothing is answered', async () => {
    await show();
    await setAddress('grpc://other:30650');
    await userEvent.keyboard('{Escape}');
    missing('question');
    expect(element('pachdAddressInput')).toHaveValue('grpc://other:30650');
    expect(server.sent('PUT')).toEqual([]);
  });
});

describe('the login', () => {
  const URL = 'https://pachd.example/dex/auth?x=1';
  const begun = () => ({ auth_url: URL, oidc_state: 's' });
  const someWindow = () => ({ opener: window, closed: false, location: { href: '' }, close: jest.fn() });

  function open(opened: ReturnType<typeof someWindow> | null): jest.SpyInstance {
    return jest.spyOn(window, 'open').mockReturnValue(opened as unknown as Window);
  }

  it('is no matter where the cluster has none', async () => {
    await show();
    missing('login');
    missing('logout');
    expect(element('user')).toHaveTextContent('asks for no login');
  });

  it('opens a window by the click itself, and goes on there', async () => {
    state = withCluster({ auth: 'logged-out' });
    let answer: (value: unknown) => void = () => undefined;
    const opened = someWindow();
    const spy = open(opened);
    const context = await show({ 'PUT auth/_login': () => new Promise(resolve => (answer = resolve)) });
    fireEvent.click(element('login'));
    expect(spy).toHaveBeenCalledWith('', '', expect.stringContaining('width=500,height=500'));
    await act(async () => answer(begun()));
    await waitFor(() => expect(opened.location.href).toBe(URL));
    expect(opened.opener).toBeNull();
    expect(element('loginUrl')).toHaveAttribute('href', URL);

    state = withCluster({ auth: 'logged-in', username: 'user:ada@example.com', login_expires: 1795883672 });
    await act(() => context.model.refreshState());
    expect(element('user')).toHaveTextContent('Logged in as user:ada@example.com.');
    expect(element('loginExpires')).toHaveTextContent(new Date(1795883672000).toLocaleString());
    missing('login');
    missing('loginWaiting');
    expect(context.shown.view).toBe('settings');
  });

  it('is locked for two seconds, and not known of after three minutes', async () => {
    jest.useFakeTimers({ advanceTimers: true });
    state = withCluster({ auth: 'logged-out' });
    const spy = open(someWindow());
    await show({ 'PUT auth/_login': begun });
    fireEvent.click(element('login'));
    await screen.findByTestId('Config__loginUrl');
    fireEvent.click(element('login'));
    expect(spy).toHaveBeenCalledTimes(1);
    act(() => jest.advanceTimersByTime(2000));
    fireEvent.click(element('login'));
    expect(spy).toHaveBeenCalledTimes(2);
    await screen.findByTestId('Config__loginUrl');
    act(() => jest.advanceTimersByTime(180000));
    missing('loginUrl');
    expect(screen.getByText(/within three minutes/)).toBeInTheDocument();
  });

  it('tells why it failed, until another one begins', async () => {
    state = withCluster({ auth: 'logged-out' });
    open(someWindow());
    const context = await show({ 'PUT auth/_login': begun });
    await click('login');
    await screen.findByTestId('Config__loginUrl');
    const error = { id: 'login', error: 'nobody logged in', why: 'the time is over', hint: '' };
    state = { ...state, login: { state: 'failed', error } };
    await act(() => context.model.refreshState());
    expect(element('loginFailed')).toHaveTextContent('The login failed: nobody logged in — the time is over');
    missing('loginUrl');
    state = { ...state, login: { state: 'waiting', error: null } };
    await act(() => context.model.refreshState());
    missing('loginFailed');
    expect(element('loginUrl')).toBeInTheDocument();
  });

  it('shows its address where the browser opens no window', async () => {
    state = withCluster({ auth: 'logged-out' });
    open(null);
    await show({ 'PUT auth/_login': begun });
    await click('login');
    expect(await screen.findByTestId('Config__loginWaiting')).toHaveTextContent(
      'The browser opened no window'
    );
    expect(element('loginUrl')).toHaveTextContent(URL);
  });

  it.each([
    ['a refusal', () => failed(500, "auth isn't activated on the cluster"), "auth isn't activated"],
    ['no web page', () => ({ auth_url: 'javascript:alert(1)', oidc_state: 's' }), 'is no web page']
  ])('closes its window after %s', async (_, answer, sentence) => {
    state = withCluster({ auth: 'logged-out' });
    const opened = someWindow();
    open(opened);
    await show({ 'PUT auth/_login': answer });
    await click('login');
    expect(await screen.findByTestId('Config__loginError')).toHaveTextContent(sentence);
    expect(opened.close).toHaveBeenCalled();
    expect(opened.location.href).toBe('');
  });

  it('ends with Logout', async () => {
    state = withCluster({ auth: 'logged-in', username: 'user:ada@example.com' });
    await show({
      'PUT auth/_logout': () => {
        state = withCluster({ auth: 'logged-out' });
        return new Response('');
      }
    });
    missing('login');
    await click('logout');
    expect(server.sent('PUT')).toEqual(['auth/_logout {"staged":"keep"}']);
    await waitFor(() => expect(element('user')).toHaveTextContent('Not logged in.'));
    expect(element('user')).toHaveFocus();
    expect(element('login')).toBeEnabled();
  });
});

describe('the rest', () => {
  it('tells the use of the cache, and the paths', async () => {
    const status = someStatus();
    state = someState({ status: { ...status, cache: { ...status.cache, disk_bytes: 2 ** 30 } } });
    await show();
    expect(element('cacheDisk')).toHaveTextContent('1.0 GiB of 10.0 GiB');
    expect(element('cacheMemory')).toHaveTextContent('0 B of 64.0 MiB');
    expect(element('mountDir')).toHaveAttribute('title', '/home/ada/pfs');
    expect(element('socket')).toHaveTextContent('/run/user/1000/pachmount/pfs.sock');
    expect(element('logFile')).toHaveTextContent('/home/ada/daemon.log');
    missing('noFuse');
  });

  it('tells why there is no cache on the disk, and no path', async () => {
    const status = someStatus();
    const cache = { ...status.cache, disabled_reason: 'the disk is full' };
    const fuse = { available: false, reason: '/dev/fuse is missing' };
    state = someState({ fuse, status: { ...status, cache } });
    await show();
    expect(element('cacheDisabled')).toHaveTextContent('the disk is full');
    missing('cacheDisk');
    expect(element('noFuse')).toHaveTextContent('/dev/fuse is missing');
  });

  it('starts the daemon again after a question', async () => {
    await show({ 'PUT daemon/_restart': () => ({}) });
    expect(element('daemonPid')).toHaveTextContent('1857');
    await click('restart');
    expect(server.sent('PUT')).toEqual([]);
    await click('questionCancel');
    await click('restart');
    await click('restartConfirm');
    expect(server.sent('PUT')).toEqual(['daemon/_restart {}']);
  });

  it('starts a daemon that stopped without a question, and tells why that fails', async () => {
    state = someState({ daemon: 'stopped', status: null });
    await show({ 'PUT daemon/_start': () => failed(500, 'the daemon did not start', 'no room on the disk') });
    missing('pachdAddress');
    expect(element('daemonState')).toHaveTextContent('stopped');
    await userEvent.click(screen.getByRole('button', { name: 'Start' }));
    expect(await screen.findByTestId('Config__daemonError')).toHaveTextContent('no room on the disk');
  });

  it('starts no daemon that runs beside Jupyter', async () => {
    state = someState({ sidecar: true });
    await show();
    missing('restart');
  });

  it('runs the checks, and copies them', async () => {
    const checks = [
      { name: 'fuse', verdict: 'problem', found: '/dev/fuse is missing', advice: 'apt install fuse3' },
      { name: 'daemon', verdict: 'ok', found: 'running', advice: '' }
    ];
    await show({ 'GET doctor': () => ({ ok: false, checks }) });
    expect(server.requests.map(request => request.route)).not.toContain('doctor');
    missing('copyChecks');
    await click('runChecks');
    expect(await screen.findByTestId('Config__checks')).toHaveTextContent(
      'fuseproblem/dev/fuse is missingapt install fuse3daemonokrunning'
    );
    expect(screen.getByText('1 problem found')).toBeInTheDocument();
    await click('copyChecks');
    expect(copied[0]).toContain('problem  fuse: /dev/fuse is missing');
    expect(screen.getByText('Copied')).toBeInTheDocument();
  });

  it('tells why the checks could not be run', async () => {
    await show({ 'GET doctor': () => failed(500, 'doctor ended with 2') });
    await click('runChecks');
    expect(await screen.findByTestId('Config__checksError')).toHaveTextContent('doctor ended with 2');
  });
});
