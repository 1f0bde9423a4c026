/** The settings as a person sees and clicks them, for the specs beside this. */
import React from 'react';
import { act, cleanup, render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';

import type { IServerState } from '../../api';
import type { IContext } from '../../context';
import { someContext } from '../../testing/context';
import { FakeServer, someCluster, someMount, someState, someStatus, type Answer } from '../../testing/server';
import { SettingsView } from '../SettingsView';

export const STAGED = someMount('work', {
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
export const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';

/** What the server half tells, and what was asked of it. */
export const world: { state: IServerState; server: FakeServer } = {
  state: someState(),
  server: new FakeServer({})
};

beforeEach(() => {
  world.state = someState();
});

afterEach(() => {
  cleanup();
  jest.restoreAllMocks();
  jest.useRealTimers();
});

export const withCluster = (more: Parameters<typeof someCluster>[0], mounts = [] as (typeof STAGED)[]) =>
  someState({ status: someStatus({ cluster: someCluster(more), mounts }) });

export async function show(answers: Record<string, Answer> = {}): Promise<IContext> {
  world.server = new FakeServer({
    'GET state': () => world.state,
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

export const element = (id: string) => screen.getByTestId(`Config__${id}`);
export const missing = (id: string) => expect(screen.queryByTestId(`Config__${id}`)).toBeNull();
export const click = (id: string) => userEvent.click(element(id));
export const connected = () => ({ cluster_status: 'AUTH_DISABLED', pachd_address: 'grpc://other:30650' });

export async function setAddress(address: string): Promise<void> {
  await click('pachdAddressUpdate');
  await userEvent.type(element('pachdAddressInput'), address);
  await click('pachdAddressSubmit');
}
