/**
 * Paths of the drive, without its name: `<mount>/<path>`, or `@/<project>/<repo>/<branch or commit>/<path>` for what is
 * not mounted; what they are called outside of JupyterLab.
 */
import { URLExt } from '@jupyterlab/coreutils';

import type { IMountStatus, IServerState } from '../api';

export const DRIVE = 'pfs';
/** What stands for the bytes of a name that is not UTF-8; the server half knows which byte each of them is. */
const BYTES = /[\uef80-\uefff]/g;

/** The path of a file or directory as JupyterLab's document manager takes it. */
export function globalPath(path: string): string {
  return `${DRIVE}:${path}`;
}

/** A route of the server half about a path of the drive. */
export function routeFor(kind: 'contents' | 'download', path: string): string {
  return `${kind}/${URLExt.encodeParts(path)}`;
}

export function joinPath(directory: string, name: string): string {
  return directory ? `${directory}/${name}` : name;
}

export function parentPath(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0));
}

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** The name of the mount, `@` for what is not mounted, "" for the root. */
export function mountName(path: string): string {
  return path.split('/', 1)[0];
}

/** The directories on the way to a path, from the one below the root on. */
export function crumbs(path: string): { name: string; path: string }[] {
  const parts = path.split('/').filter(part => part);
  return parts.map((name, index) => ({ name: shownName(name), path: parts.slice(0, index + 1).join('/') }));
}

/** A name of a path as it is shown, with bytes as `\xff`. */
function shownName(name: string): string {
  return name.replace(BYTES, character => `\\x${(character.charCodeAt(0) & 0xff).toString(16)}`);
}

/** Whether other programs can be told a path as text. */
function isText(path: string): boolean {
  return path.search(BYTES) < 0;
}

/** Whether a path is a list of mounts, projects, repositories or branches, and no directory. */
export function isList(path: string): boolean {
  return path === '' || (mountName(path) === '@' && path.split('/').length < 4);
}

/** The path of the same file for the code of a notebook, "" if it has none that is text. */
export function realPath(state: IServerState | null, path: string): string {
  const [name, ...rest] = path.split('/');
  const mount = findMount(state, name);
  if (!state?.fuse.available || !isText(path) || (!mount && !isShownByDatum(state, name))) {
    return '';
  }
  return [mount ? mount.mountpoint : `${state.mount_dir}/${name}`, ...rest].join('/');
}

/** The path in the default drive of JupyterLab, null where Jupyter's server does not reach the mounts. */
export function pathInMainBrowser(state: IServerState | null, path: string): string | null {
  const root = state?.contents.root ?? null;
  const real = realPath(state, path);
  if (state === null || root === null || !real.startsWith(`${state.mount_dir}/`)) {
    return null;
  }
  const below = real.slice(state.mount_dir.length + 1);
  return root ? `${root}/${below}` : below;
}

/** `project/repo@branch:/path`, "" for what is in no repository, or has a path that is no text. */
export function fileUri(state: IServerState | null, path: string): string {
  if (!isText(path)) {
    return '';
  }
  const [name, ...rest] = path.split('/');
  if (name === '@') {
    const [project, repo, branch, ...below] = rest;
    return branch ? `${project}/${repo}@${branch}:/${below.join('/')}` : '';
  }
  const mount = findMount(state, name);
  if (mount) {
    const inside = [...mount.path.split('/'), ...rest].filter(part => part);
    return `${mount.project}/${mount.repo}@${mount.branch || mount.commit}:/${inside.join('/')}`;
  }
  const input = state?.status?.datum?.files.find(file => file.input === name);
  return input ? `${input.project}/${input.repo}@${input.commit}:/${rest.join('/')}` : '';
}

export function findMount(state: IServerState | null, name: string): IMountStatus | undefined {
  return state?.status?.mounts.find(mount => mount.name === name);
}

/** Whether a name of the root is an input of the datum that is shown, or its output. */
export function isShownByDatum(state: IServerState | null, name: string): boolean {
  const datum = state?.status?.datum;
  return !!datum && (name === 'out' || datum.files.some(file => file.input === name));
}

/** Whether a path can still be shown: its mount was not taken away. */
export function isThere(state: IServerState | null, path: string): boolean {
  const name = mountName(path);
  const known = state !== null && state.status !== null;
  return !known || name === '' || name === '@' || !!findMount(state, name) || isShownByDatum(state, name);
}
