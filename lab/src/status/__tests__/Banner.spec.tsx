import '@testing-library/jest-dom';
import React from 'react';
import { act, render, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';

import type { IServerState } from '../../api';
import type { IContext } from '../../context';
import { someContext } from '../../testing/context';
import { failed, FakeServer, someCluster, someState, someStatus, type Answer } from '../../testing/server';
import { Banner } from '../Banner';
import { CONFIRM_AFTER } from '../hooks';

let state: IServerState | null;
let server: FakeServer;
let context: IContext;

async function show(answers: Record<string, Answer> = {}): Promise<void> {
  server = new FakeServer({
    'GET state': () => {
      if (state === null) {
        throw new TypeError('Failed to fetch');
      }
      return state;
    },
    'GET repos': () => [],
    'GET projects': () => [],
    ...answers
  });
  context = someContext();
  render(
    <>
      <button id="pach-tab-explore">{context.trans.__('Explore')}</button>
      <Banner {...context} />
    </>
  );
  await poll();
}

const poll = () => act(() => context.model.refreshState());
const confirmed = { timeout: CONFIRM_AFTER * 3 };
const banner = () => screen.queryByTestId('Banner');

const error = { id: 'x', error: 'it broke', why: 'no room', hint: 'make room' };
const withCluster = (more: Parameters<typeof someCluster>[0]) =>
  someState({ status: someStatus({ cluster: someCluster(more) }) });

beforeEach(() => {
  localStorage.clear();
  state = someState();
});

afterEach(() => jest.restoreAllMocks());

it('is not there while nothing is wrong', async () => {
  await show();
  expect(banner()).toBeNull();
});

describe("Jupyter's server", () => {
  it('is missed after two polls, until it is back', async () => {
    state = null;
    await show();
    expect(banner()).toBeNull();
    const alert = await screen.findByRole('alert', {}, confirmed);
    expect(alert).toHaveTextContent("Jupyter's server does not answer");
    expect(alert).toHaveTextContent('Failed to fetch');
    state = someState();
    await poll();
    expect(banner()).toBeNull();
  });

  it('is not missed because of a single poll', async () => {
    state = null;
    await show();
    state = someState();
    const seen: (HTMLElement | null)[] = [];
    const asked = server.requests.length;
    await waitFor(() => {
      seen.push(banner());
      expect(server.requests.length).toBeGreaterThan(asked); // the panel looks again by itself
    }, confirmed);
    expect(seen.every(element => element === null)).toBe(true);
    expect(banner()).toBeNull();
  });
});

describe('the daemon', () => {
  it('that failed can be tried again, and the focus stays in the panel', async () => {
    state = someState({ daemon: 'failed', error, status: null });
    await show({ 'PUT daemon/_start': () => (state = someState()) });
    const alert = screen.getByRole('alert');
    expect(alert).toHaveTextContent('could not be started');
    expect(alert).toHaveTextContent('it broke — no room');
    expect(alert).toHaveTextContent('make room');
    await userEvent.click(screen.getByRole('button', { name: 'Retry' }));
    await waitFor(() => expect(banner()).toBeNull());
    expect(server.sent('PUT')).toEqual(['daemon/_start {}']);
    expect(screen.getByText('Explore')).toHaveFocus();
  });

  it('that is stopped can be started; a refusal stands in the banner', async () => {
    state = someState({ daemon: 'stopped', status: null });
    await show({ 'PUT daemon/_start': () => failed(500, 'cannot start', 'no such file') });
    await userEvent.click(await screen.findByRole('button', { name: 'Start' }, confirmed));
    expect(await screen.findByText('cannot start — no such file')).toBeVisible();
  });

  it.each([['unreachable' as const], ['other-version' as const]])(
    'that is %s is started again',
    async daemon => {
      state = someState({ daemon, status: null });
      await show({ 'PUT daemon/_restart': () => (state = someState()) });
      await userEvent.click(await screen.findByRole('button', { name: 'Restart' }, confirmed));
      expect(server.sent('PUT')).toEqual(['daemon/_restart {}']);
    }
  );

  it.each([['stopped' as const], ['failed' as const], ['unreachable' as const]])(
    'that is %s in a container of its own has no button',
    async daemon => {
      state = someState({ daemon, sidecar: true, status: null });
      await show();
      const alert = await screen.findByRole('alert', {}, confirmed);
      expect(alert).toHaveTextContent('who administers this server has to start it');
      expect(screen.queryByTestId('Banner__remedy')).toBeNull();
    }
  );

  it('that starts for longer than a moment is waited for', async () => {
    state = someState({ daemon: 'starting', status: null });
    await show();
    expect(banner()).toBeNull();
    expect(await screen.findByText('The daemon is starting', {}, confirmed)).toBeVisible();
  });
});

describe('the cluster', () => {
  it('that does not answer is named, with the time and the reason', async () => {
    const since = new Date();
    since.setHours(0, 5, 0, 0);
    state = withCluster({ state: 'unreachable', unreachable_since: since.getTime() / 1000, error });
    await show();
    const alert = await screen.findByRole('alert', {}, confirmed);
    expect(alert).toHaveTextContent(/grpc:\/\/pachd\.example:30650 does not answer since .*05/);
    expect(alert).toHaveTextContent('it broke — no room');
  });

  it('that is missing leads to the settings', async () => {
    state = withCluster({ state: 'none', address: '' });
    await show();
    await userEvent.click(screen.getByRole('button', { name: 'Settings' }));
    expect(context.shown.view).toBe('settings');
  });

  it.each([
    ['Nobody is logged in', null],
    ['The login has expired', 1]
  ])('that needs a login says "%s" and leads to it', async (what, login_expires) => {
    state = withCluster({ auth: 'logged-out', login_expires });
    await show();
    expect(screen.getByRole('alert')).toHaveTextContent(what);
    await userEvent.click(screen.getByRole('button', { name: 'Log in' }));
    expect(context.shown.view).toBe('settings');
  });

  it('tells why the last login failed', async () => {
    const error = { id: 'login', error: 'nobody logged in', why: '', hint: '' };
    state = { ...withCluster({ auth: 'logged-out' }), login: { state: 'failed', error } };
    await show();
    expect(screen.getByRole('alert')).toHaveTextContent('The last login failed: nobody logged in');
  });

  it('tells of the end of a login a day before', async () => {
    const now = Date.now() / 1000;
    state = withCluster({ auth: 'logged-in', login_expires: now + 2 * 24 * 3600 });
    await show();
    expect(banner()).toBeNull();
    state = withCluster({ auth: 'logged-in', login_expires: now + 3600 });
    await poll();
    expect(screen.getByRole('status')).toHaveTextContent('The login expires at');
    expect(screen.getByRole('button', { name: 'Log in' })).toBeVisible();
  });
});

describe('hints', () => {
  const fuse = { available: false, reason: '/dev/fuse is missing' };

  it('can be dismissed, for later visits too, until there is another reason', async () => {
    state = someState({ fuse });
    await show();
    expect(screen.getByTestId('Banner__no-fuse')).toHaveTextContent('/dev/fuse is missing');
    expect(screen.getByTestId('Banner__no-fuse')).toHaveTextContent('Browsing and downloading work without');
    await userEvent.click(screen.getByRole('button', { name: 'Dismiss' }));
    expect(banner()).toBeNull();
    await show();
    expect(banner()).toBeNull();
    state = someState({ fuse: { available: false, reason: 'fusermount3 is missing' } });
    await poll();
    expect(screen.getByTestId('Banner__no-fuse')).toBeVisible();
  });

  it('stand behind what is worse, which cannot be dismissed', async () => {
    state = someState({
      fuse,
      status: someStatus({
        cluster: someCluster({ auth: 'logged-out' }),
        cache: { ...someStatus().cache, disabled_reason: 'the disk is full' }
      })
    });
    await show();
    expect(screen.getByTestId('Banner__logged-out')).toBeVisible();
    expect(screen.queryByRole('button', { name: 'Dismiss' })).toBeNull();
    await userEvent.click(screen.getByRole('button', { name: '2 more notices' }));
    expect(screen.getByTestId('Banner__no-cache')).toHaveTextContent('the disk is full');
    expect(screen.getAllByRole('button', { name: 'Dismiss' })).toHaveLength(2);
  });
});
