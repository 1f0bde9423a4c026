/** The Explore view above a fake server, with the commands of the application. */
import React from 'react';
import { act, render } from '@testing-library/react';

import type { IDaemonStatus, IRepo, IServerState } from '../../api';
import { CommandIDs, type IContext } from '../../context';
import { someContext } from '../../testing/context';
import { FakeServer, someState, someStatus, type Answer } from '../../testing/server';
import { addExploreCommands } from '../commands';
import { ExploreView } from '../ExploreView';

export interface ISetting {
  context: IContext;
  server: FakeServer;
  /** Poll, and wait for what is rendered then. */
  poll: () => Promise<void>;
  /** What the daemon tells from now on. */
  status: Partial<IDaemonStatus>;
  state: Partial<IServerState>;
  repos: IRepo[];
  projects: string[];
}

export async function showExplore(
  given: Partial<Pick<ISetting, 'status' | 'state' | 'repos' | 'projects'>> = {},
  answers: Record<string, Answer> = {}
): Promise<ISetting> {
  const setting = { status: {}, state: {}, repos: [], projects: ['default'], ...given } as ISetting;
  setting.server = new FakeServer({
    'GET state': () => someState({ status: someStatus(setting.status), ...setting.state }),
    'GET repos': () => setting.repos,
    'GET projects': () => setting.projects.map(name => ({ project: { name } })),
    'GET commits': () => [],
    ...answers
  });
  setting.context = someContext();
  const { context } = setting;
  addExploreCommands(context);
  context.commands.addCommand(CommandIDs.showPanel, {
    describedBy: { args: {} },
    execute: ({ view }) => {
      context.shown.view = view as 'explore';
    }
  });
  setting.poll = () => act(() => context.model.refreshState());
  render(<ExploreView {...context} />);
  await setting.poll();
  await act(() => context.model.listRepos());
  return setting;
}
