/** What can be done with one mount, as commands have it. */
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { IMountStatus } from '../api';
import { CommandIDs, type IContext } from '../context';
import { commit, copyPath, copySnippet, done, showExplore, showForm, unmount, update } from './actions';
import { isBehind, isReady, warmupOf } from './mounts';

export interface IMountCommand {
  id: string;
  /** In the menu of a mount. */
  label: string;
  /** Where no mount is named. */
  longLabel: string;
  caption: string;
  isFor: (mount: IMountStatus) => boolean;
  isToggled?: (mount: IMountStatus) => boolean;
  /** False if it failed: then the row of the mount tells why. */
  run: (mount: IMountStatus, args: ReadonlyPartialJSONObject) => Promise<boolean | void> | void;
}

export function mountCommands(context: IContext): IMountCommand[] {
  const { model, shown, trans } = context;
  const hasPath = () => model.state?.fuse.available ?? false;
  const isFollowable = (mount: IMountStatus) => isReady(mount) && mount.mode === 'ro' && mount.branch !== '';
  const running = (mount: IMountStatus) => {
    const warmup = warmupOf(model.status?.warmups ?? [], mount.name);
    return warmup && warmup.state !== 'failed' ? warmup : null;
  };
  return [
    {
      id: CommandIDs.openMount,
      label: trans.__('Open'),
      longLabel: trans.__('Open a Mount'),
      caption: trans.__('Show the files of a mount in the panel'),
      isFor: isReady,
      run: async mount => {
        await showExplore(context);
        shown.directory = mount.name;
      }
    },
    {
      id: CommandIDs.updateMount,
      label: trans.__('Update'),
      longLabel: trans.__('Update a Mount'),
      caption: trans.__('Move a mount to the newest commit of its branch'),
      isFor: isBehind,
      run: mount => update(context, mount)
    },
    {
      id: CommandIDs.followBranch,
      label: trans.__('Follow the Branch'),
      longLabel: trans.__('Follow the Branch of a Mount'),
      caption: trans.__('Move a mount along when its branch gets a new commit'),
      isFor: isFollowable,
      isToggled: mount => mount.follow,
      run: mount => done(model.follow(mount.name, !mount.follow))
    },
    {
      id: CommandIDs.commitMount,
      label: trans.__('Commit…'),
      longLabel: trans.__('Commit the Changes in a Mount…'),
      caption: trans.__('Look at what was changed, and commit it'),
      isFor: mount => isReady(mount) && mount.mode === 'rw',
      run: (mount, args) =>
        typeof args.message === 'string'
          ? commit(context, mount.name, args.message)
          : showForm(context, mount.name, 'commit')
    },
    {
      id: CommandIDs.makeReadWrite,
      label: trans.__('Make Read-Write'),
      longLabel: trans.__('Make a Mount Read-Write'),
      caption: trans.__('Let files be changed; a commit makes a version of that'),
      isFor: mount => isReady(mount) && mount.mode === 'ro' && mount.branch !== '',
      run: mount => done(model.remount(mount.name, 'rw'))
    },
    {
      id: CommandIDs.makeReadOnly,
      label: trans.__('Make Read-Only'),
      longLabel: trans.__('Make a Mount Read-Only'),
      caption: trans.__('Changes that are not committed are kept'),
      isFor: mount => isReady(mount) && mount.mode === 'rw',
      run: mount => done(model.remount(mount.name, 'ro'))
    },
    {
      id: CommandIDs.copyPath,
      label: trans.__('Copy Path'),
      longLabel: trans.__('Copy the Path of a Mount'),
      caption: trans.__('The path by which notebooks read the files'),
      isFor: hasPath,
      run: mount => copyPath(context, mount)
    },
    {
      id: CommandIDs.copySnippet,
      label: trans.__('Copy Code Snippet'),
      longLabel: trans.__('Copy a Code Snippet for a Mount'),
      caption: trans.__('Python that lists the files'),
      isFor: hasPath,
      run: mount => copySnippet(context, mount)
    },
    {
      id: CommandIDs.warmUp,
      label: trans.__('Warm Up the Cache'),
      longLabel: trans.__('Warm Up the Cache for a Mount'),
      caption: trans.__('Fetch all files now, so that reading them is quick'),
      isFor: mount => isReady(mount) && !running(mount),
      run: mount => done(model.warmUp(mount.name))
    },
    {
      id: CommandIDs.cancelWarmup,
      label: trans.__('Cancel the Warm-Up'),
      longLabel: trans.__('Cancel the Warm-Up of a Mount'),
      caption: trans.__('What was fetched stays in the cache'),
      isFor: mount => running(mount) !== null,
      run: mount => done(model.cancelWarmup(running(mount)?.id ?? ''))
    },
    {
      id: CommandIDs.unmount,
      label: trans.__('Unmount'),
      longLabel: trans.__('Unmount…'),
      caption: trans.__('Changes that are not committed are asked about first'),
      isFor: mount => isReady(mount) || mount.state === 'error',
      run: mount => unmount(context, mount)
    }
  ];
}
