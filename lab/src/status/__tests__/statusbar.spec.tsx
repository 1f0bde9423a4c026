import '@testing-library/jest-dom';
import React from 'react';
import { nullTranslator } from '@jupyterlab/translation';
import { act, render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';

import type { IDaemonStatus, IStagedStatus, IWarmupStatus } from '../../api';
import { CommandIDs } from '../../context';
import { someContext } from '../../testing/context';
import { FakeServer, someDatum, someMount, someState, someStatus } from '../../testing/server';
import { StatusItem } from '../statusbar';
import { summaryOf } from '../summary';

const trans = nullTranslator.load('pachmount-lab');
const text = (status: Partial<IDaemonStatus>) =>
  summaryOf(trans, someState({ status: someStatus(status) }))?.text;

const STAGED = { files: 2, committing: '' } as IStagedStatus;

describe('summaryOf', () => {
  it('tells nothing without a daemon', () => {
    expect(summaryOf(trans, null)).toBeNull();
    expect(summaryOf(trans, someState({ status: null }))).toBeNull();
  });

  it('counts what is mounted, behind and changed', () => {
    expect(text({})).toBe('Pachyderm: 0 mounted');
    const mounts = [
      someMount('a', { behind: 3 }),
      someMount('b'),
      someMount('c', { mode: 'rw', staged: STAGED })
    ];
    expect(text({ mounts })).toBe('Pachyderm: 3 mounted · 1 behind · 2 changed files');
  });

  it('tells how far commits and warm-ups are', () => {
    const staged = {
      ...STAGED,
      committing: 'upload',
      committing_bytes: 25,
      committing_total_bytes: 100
    } as IStagedStatus;
    const warmup = { state: 'fetching', done_bytes: 4, total_bytes: 10 } as IWarmupStatus;
    expect(text({ mounts: [someMount('a', { mode: 'rw', staged })], warmups: [warmup] })).toMatch(
      /2 changed files · committing 25\s?% · warming up 40\s?%$/
    );
    expect(text({ warmups: [{ ...warmup, state: 'listing' }] })).toMatch(/warming up$/);
    expect(text({ warmups: [{ ...warmup, state: 'done' }] })).toBe('Pachyderm: 0 mounted');
  });

  it('tells the datum that is shown', () => {
    expect(text({ datum: someDatum({ idx: 1 }) })).toBe('Pachyderm: datum 2 of 6');
  });
});

it('opens the panel by a click', async () => {
  new FakeServer({ 'GET state': () => someState(), 'GET repos': () => [], 'GET projects': () => [] });
  const context = someContext();
  const execute = jest.fn();
  context.commands.addCommand(CommandIDs.showPanel, { describedBy: { args: {} }, execute });
  render(<StatusItem {...context} />);
  expect(screen.queryByRole('button')).toBeNull();
  await act(() => context.model.refreshState());
  await userEvent.click(screen.getByRole('button', { name: /0 mounted/ }));
  expect(execute).toHaveBeenCalled();
});
