/**
 * What can be done with mounts. How a request failed is kept by the model and stands on the row of the mount, so
 * nothing here throws RequestError.
 */
import { Clipboard } from '@jupyterlab/apputils';

import { RequestError, type AtUnmount, type IMountEntry, type IMountStatus, type IRepo } from '../api';
import { CommandIDs, type IContext } from '../context';
import type { ICommitOptions } from '../model';
import { codeSnippet } from '../files/snippet';
import type { FormKind } from './model';
import { isBehind } from './mounts';
import { repoKey } from './repos';

/** Do a request of the model; whether it went well. */
export async function done(request: Promise<unknown>): Promise<boolean> {
  try {
    await request;
    return true;
  } catch (error) {
    if (error instanceof RequestError) {
      return false;
    }
    throw error;
  }
}

export async function mountRepo(
  { model, explore, trans }: IContext,
  repo: IRepo,
  entry: IMountEntry
): Promise<boolean> {
  explore.noteAttempt(repoKey(repo), entry.name);
  const isMounted = await done(model.mount(entry));
  if (isMounted) {
    explore.notice = trans.__('Mounted %1', entry.name);
  }
  return isMounted;
}

/** Show the Explore view, where the rows tell and ask. */
export async function showExplore({ commands }: IContext): Promise<void> {
  await commands.execute(CommandIDs.showPanel, { view: 'explore' });
}

export async function showForm(context: IContext, name: string, kind: FormKind): Promise<void> {
  await showExplore(context);
  context.explore.openForm(name, kind);
}

/** Unmount; a person is asked first what shall become of changes that are not committed. */
export async function unmount(context: IContext, mount: IMountStatus): Promise<boolean> {
  if (mount.mode === 'rw' && (await mayHaveChanges(context, mount.name))) {
    await showForm(context, mount.name, 'unmount');
    return true;
  }
  // what a program changes in this moment is kept for the next mount of that name
  return unmountWith(context, mount.name, 'keep');
}

/** Whether anything is staged; the polled state counts only files with new bytes, not what was deleted. */
async function mayHaveChanges({ model }: IContext, name: string): Promise<boolean> {
  try {
    const { changes, refused } = await model.difference(name);
    return changes.length + refused.length > 0;
  } catch (error) {
    if (error instanceof RequestError) {
      return true; // nobody knows, so the person is asked
    }
    throw error;
  }
}

export async function unmountWith(
  { model, explore, trans }: IContext,
  name: string,
  staged: AtUnmount
): Promise<boolean> {
  const isGone = await done(model.unmount(name, staged));
  if (isGone) {
    explore.closeForm(name);
    explore.notice = trans.__('Unmounted %1', name);
  }
  return isGone;
}

export async function update({ model, explore, trans }: IContext, mount: IMountStatus): Promise<boolean> {
  const isNew = await done(model.refresh(mount.name));
  if (isNew) {
    explore.notice = trans.__('%1 shows the newest commit', mount.name);
  }
  return isNew;
}

/** Update all mounts that are behind, one after the other. */
export async function updateAll(context: IContext): Promise<boolean> {
  let isAll = true;
  for (const mount of context.model.mounts.filter(isBehind)) {
    isAll = (await update(context, mount)) && isAll;
  }
  return isAll;
}

export async function commit(
  { model, explore, trans }: IContext,
  name: string,
  message: string,
  options: ICommitOptions = {}
): Promise<boolean> {
  let id = '';
  const isDone = await done(model.commit(name, message, options).then(commit => (id = commit)));
  if (isDone) {
    explore.closeForm(name);
    explore.notice = id
      ? trans.__('Committed %1: %2', name, id.slice(0, 8))
      : trans.__('%1 has nothing to commit', name);
  }
  return isDone;
}

export function copyPath({ explore, trans }: IContext, mount: IMountStatus): void {
  Clipboard.copyToSystem(mount.mountpoint);
  explore.notice = trans.__('Copied the path of %1', mount.name);
}

export function copySnippet({ explore, trans }: IContext, mount: IMountStatus): void {
  Clipboard.copyToSystem(codeSnippet(mount.mountpoint, true));
  explore.notice = trans.__('Copied Python code that lists %1', mount.name);
}
