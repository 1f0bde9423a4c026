/** What the settings do: connecting, logging in and out. The model looks at what became of it. */
import { put, RequestError, type AtUnmount, type IConfig, type ILogin } from '../api';
import { stagedChanges } from '../common/staged';
import type { MountModel } from '../model';

/** Which cluster to connect to. */
export type Cluster = { embedded: true } | { pachd_address: string; server_cas?: string };

/** How many changes are staged in all mounts. */
export function stagedFiles(model: MountModel): number {
  return model.mounts.reduce((sum, mount) => sum + stagedChanges(mount), 0);
}

/** Connect to a cluster, which ends all mounts of another one; false if it is none. Throws RequestError. */
export async function connect(model: MountModel, cluster: Cluster, staged: AtUnmount): Promise<boolean> {
  const answer = await seen(model, put<IConfig>('config', { ...cluster, staged }));
  return answer.cluster_status !== 'INVALID';
}

/** Begin a login; the URL at which a person goes on. Throws RequestError. */
export async function beginLogin(): Promise<string> {
  const { auth_url } = await put<ILogin>('auth/_login');
  if (!/^https?:\/\//i.test(auth_url)) {
    throw new RequestError(
      0,
      'bad-login-url',
      'the login cannot be opened',
      `'${auth_url}' is no web page`,
      ''
    );
  }
  return auth_url;
}

/** Log out, which ends all mounts. Throws RequestError. */
export async function logOut(model: MountModel, staged: AtUnmount): Promise<void> {
  await seen(model, put('auth/_logout', { staged }));
}

/** An answer, once the model has seen what it changed. */
async function seen<T>(model: MountModel, request: Promise<T>): Promise<T> {
  try {
    return await request;
  } finally {
    await model.refreshState();
    if (model.usable) {
      await model.listRepos(true);
    }
  }
}
