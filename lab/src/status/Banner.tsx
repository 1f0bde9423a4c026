import type { IContext } from '../context';

/** What is wrong with the daemon, the cluster, the login or FUSE, while it is. */
export function Banner(_context: IContext): JSX.Element | null {
  return null;
}
