/**
 * The commands of the Explore view. A menu names the mount; the palette does not: then it is the one whose files are
 * shown, or the only one, or the one that a person picks.
 */
import { InputDialog } from '@jupyterlab/apputils';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { IMountStatus, IRepo } from '../api';
import { CommandIDs, type ICommandItem, type IContext } from '../context';
import { mountName } from '../files/path';
import { mountRepo, showExplore, updateAll } from './actions';
import { mountCommands, type IMountCommand } from './mountCommands';
import { isBehind, isBusy, sortedMounts } from './mounts';
import { defaultBranch, defaultMountName, sortedBranches } from './repos';

const text = { type: 'string' } as const;

/** Add the commands; they, in the order of the palette. */
export function addExploreCommands(context: IContext): ICommandItem[] {
  const ids = mountCommands(context).map(command => addMountCommand(context, command));
  return [addMountRepo(context), ...ids, addUpdateAll(context), addRefreshRepos(context)].map(command => ({
    command
  }));
}

function addMountCommand(context: IContext, command: IMountCommand): string {
  const { model, commands } = context;
  const candidates = () =>
    model.mounts.filter(mount => !isBusy(mount, model.pending) && command.isFor(mount));
  const named = (args: ReadonlyPartialJSONObject) => candidates().filter(({ name }) => name === args.name);

  commands.addCommand(command.id, {
    label: args => (args.name === undefined ? command.longLabel : command.label),
    caption: command.caption,
    isEnabled: args => (args.name === undefined ? candidates() : named(args)).length > 0,
    isToggleable: command.isToggled !== undefined,
    isToggled: args => named(args).some(mount => command.isToggled?.(mount)),
    describedBy: {
      args: {
        type: 'object',
        properties: { name: text, ...(command.id === CommandIDs.commitMount ? { message: text } : {}) }
      }
    },
    execute: async args => {
      const mount =
        args.name === undefined
          ? await pick(context, candidates(), command.longLabel)
          : (named(args)[0] ?? null);
      if (!mount) {
        return;
      }
      if ((await command.run(mount, args)) === false) {
        await showExplore(context);
      }
    }
  });
  return command.id;
}

async function pick(
  { shown, trans }: IContext,
  mounts: IMountStatus[],
  title: string
): Promise<IMountStatus | null> {
  const current = mounts.find(({ name }) => name === mountName(shown.directory));
  if (current || mounts.length < 2) {
    return current ?? mounts[0] ?? null;
  }
  const names = sortedMounts(mounts).map(mount => mount.name);
  const { value } = await InputDialog.getItem({ title, label: trans.__('Mount'), items: names });
  return mounts.find(({ name }) => name === value) ?? null;
}

function addMountRepo(context: IContext): string {
  const { model, explore, commands, trans } = context;
  commands.addCommand(CommandIDs.mountRepo, {
    label: trans.__('Mount a Repository…'),
    caption: trans.__('Make the files of a repository readable at a path'),
    isEnabled: () => model.usable && !model.status?.datum,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          project: text,
          repo: text,
          branch: text,
          commit: text,
          name: text,
          mode: { type: 'string', enum: ['ro', 'rw'] },
          follow: { type: 'boolean' }
        }
      }
    },
    execute: async args => {
      if (typeof args.repo !== 'string') {
        await showExplore(context);
        explore.wantSearch();
        return;
      }
      const repo = knownRepo(context, String(args.project ?? 'default'), args.repo);
      const branch = String(args.branch ?? (defaultBranch(sortedBranches(repo)) || 'master'));
      const commit = String(args.commit ?? '');
      const isMounted = await mountRepo(context, repo, {
        name: String(args.name ?? defaultMountName(repo, branch, commit)),
        project: repo.project,
        repo: repo.repo,
        branch,
        ...(commit ? { commit } : {}),
        mode: args.mode === 'rw' ? 'rw' : 'ro',
        ...(args.follow === true ? { follow: true } : {})
      });
      if (!isMounted) {
        await showExplore(context);
      }
    }
  });
  return CommandIDs.mountRepo;
}

/** A repository of the list; one that is not there may be newer than the list. */
function knownRepo({ model }: IContext, project: string, name: string): IRepo {
  const known = model.repos.find(repo => repo.project === project && repo.repo === name);
  return known ?? { project, repo: name, branches: [], authorization: 'off' };
}

function addUpdateAll(context: IContext): string {
  const { model, commands, trans } = context;
  commands.addCommand(CommandIDs.updateAll, {
    label: trans.__('Update All Mounts'),
    caption: trans.__('Move all mounts to the newest commits of their branches'),
    isEnabled: () => model.mounts.some(mount => isBehind(mount) && !isBusy(mount, model.pending)),
    describedBy: { args: { type: 'object', properties: {} } },
    execute: async () => {
      if (!(await updateAll(context))) {
        await showExplore(context);
      }
    }
  });
  return CommandIDs.updateAll;
}

function addRefreshRepos({ model, commands, trans }: IContext): string {
  commands.addCommand(CommandIDs.refreshRepos, {
    label: trans.__('Refresh the List of Repositories'),
    caption: trans.__('Ask the cluster for its projects, repositories and branches'),
    isEnabled: () => model.usable,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => model.listRepos(true)
  });
  return CommandIDs.refreshRepos;
}
