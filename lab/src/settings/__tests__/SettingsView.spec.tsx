import '@testing-library/jest-dom';
import { act, fireEvent, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';

import { failed, someState, someStatus } from '../../testing/server';
import {
  click,
  connected,
  element,
  missing,
  PEM,
  setAddress,
  show,
  STAGED,
  withCluster,
  world
} from './shown';

const copied: string[] = [];
jest.mock('@jupyterlab/apputils', () => ({
  Clipboard: { copyToSystem: (text: string) => copied.push(text) }
}));

describe('the cluster', () => {
  it('is shown', async () => {
    await show();
    expect(element('pachdAddress')).toHaveTextContent('grpc://pachd.example:30650');
    expect(element('clusterState')).toHaveTextContent('connected');
    missing('pachdAddressInput');
  });

  it('may be the embedded server', async () => {
    world.state = withCluster({ embedded: true, address: 'unix:///run/localpfs.sock' });
    await show();
    expect(element('pachdAddress')).toHaveTextContent('the embedded server');
    missing('useEmbedded');
  });

  it('is asked for where there is none, without a way back', async () => {
    world.state = withCluster({ state: 'none', address: '', version: '' });
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
    world.state = withCluster({ state: 'unreachable', auth: 'unknown', error });
    await show();
    expect(element('clusterState')).toHaveTextContent('does not answer');
    expect(screen.getByText('no answer — connection refused')).toBeInTheDocument();
  });
});

describe('another address', () => {
  it('is trimmed, and connected to', async () => {
    await show({
      'PUT config': () => (world.state = withCluster({ address: 'grpc://other:30650' })) && connected()
    });
    await setAddress('  grpc://other:30650 ');
    expect(world.server.sent('PUT')).toEqual([
      'config {"pachd_address":"grpc://other:30650","staged":"keep"}'
    ]);
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
    expect(world.server.sent('PUT')).toEqual([]);
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
    expect(world.server.sent('PUT')).toEqual([]);
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
    expect(world.server.sent('PUT')).toEqual([
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
    expect(world.server.sent('PUT')).toEqual([
      'config {"pachd_address":"grpcs://other:443","staged":"keep"}'
    ]);
  });

  it('can be that of the embedded server', async () => {
    await show({ 'PUT config': connected });
    await click('useEmbedded');
    expect(world.server.sent('PUT')).toEqual(['config {"embedded":true,"staged":"keep"}']);
  });
});

describe('staged changes', () => {
  beforeEach(() => {
    world.state = withCluster({ auth: 'logged-in', username: 'user:ada@example.com' }, [STAGED]);
  });

  it.each([
    ['stagedCommit', 'commit'],
    ['stagedKeep', 'keep'],
    ['stagedDiscard', 'discard']
  ])('are asked about before another cluster: %s', async (answer, staged) => {
    await show({ 'PUT config': connected });
    await setAddress('grpc://other:30650');
    expect(world.server.sent('PUT')).toEqual([]);
    expect(element('question')).toHaveTextContent('2 changed files are not committed');
    expect(element('question')).toHaveFocus();
    await click(answer);
    expect(world.server.sent('PUT')).toEqual([
      `config {"pachd_address":"grpc://other:30650","staged":"${staged}"}`
    ]);
    await waitFor(() => missing('question'));
  });

  it('are asked about before a logout', async () => {
    await show({ 'PUT auth/_logout': () => new Response('') });
    await click('logout');
    expect(world.server.sent('PUT')).toEqual([]);
    await click('stagedCommit');
    expect(world.server.sent('PUT')).toEqual(['auth/_logout {"staged":"commit"}']);
  });

  it('stay as they are if nothing is answered', async () => {
    await show();
    await setAddress('grpc://other:30650');
    await userEvent.keyboard('{Escape}');
    missing('question');
    expect(element('pachdAddressInput')).toHaveValue('grpc://other:30650');
    expect(world.server.sent('PUT')).toEqual([]);
  });
});

describe('the rest', () => {
  it('tells the use of the cache, and the paths', async () => {
    const status = someStatus();
    world.state = someState({ status: { ...status, cache: { ...status.cache, disk_bytes: 2 ** 30 } } });
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
    world.state = someState({ fuse, status: { ...status, cache } });
    await show();
    expect(element('cacheDisabled')).toHaveTextContent('the disk is full');
    missing('cacheDisk');
    expect(element('noFuse')).toHaveTextContent('/dev/fuse is missing');
  });

  it('starts the daemon again after a question', async () => {
    await show({ 'PUT daemon/_restart': () => ({}) });
    expect(element('daemonPid')).toHaveTextContent('1857');
    await click('restart');
    expect(world.server.sent('PUT')).toEqual([]);
    await click('questionCancel');
    await click('restart');
    await click('restartConfirm');
    expect(world.server.sent('PUT')).toEqual(['daemon/_restart {}']);
  });

  it('starts a daemon that stopped without a question, and tells why that fails', async () => {
    world.state = someState({ daemon: 'stopped', status: null });
    await show({ 'PUT daemon/_start': () => failed(500, 'the daemon did not start', 'no room on the disk') });
    missing('pachdAddress');
    expect(element('daemonState')).toHaveTextContent('stopped');
    await userEvent.click(screen.getByRole('button', { name: 'Start' }));
    expect(await screen.findByTestId('Config__daemonError')).toHaveTextContent('no room on the disk');
  });

  it('starts no daemon that runs beside Jupyter', async () => {
    world.state = someState({ sidecar: true });
    await show();
    missing('restart');
  });

  it('runs the checks, and copies them', async () => {
    const checks = [
      { name: 'fuse', verdict: 'problem', found: '/dev/fuse is missing', advice: 'apt install fuse3' },
      { name: 'daemon', verdict: 'ok', found: 'running', advice: '' }
    ];
    await show({ 'GET doctor': () => ({ ok: false, checks }) });
    expect(world.server.requests.map(request => request.route)).not.toContain('doctor');
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
