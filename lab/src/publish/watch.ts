/**
 * Looking after a pipeline that was published: asked for while somebody can see it, until there is nothing more to come.
 */
import { useEffect, useState, type RefObject } from 'react';
import { Poll } from '@lumino/polling';

import { get, type IPipeline, type RequestError } from '../api';
import { isOnPage } from '../common/visible';
import { asRequestError } from '../model';

/** Milliseconds between two looks. */
export const WATCH_INTERVAL = 3000;
const MAX_WATCH_INTERVAL = 30000;

const ENDS = ['success', 'failure', 'killed', 'unrunnable'];

/** Whether its state stays as it is, unless somebody does something. */
export function isSettled({ state, last_job }: IPipeline): boolean {
  return state === 'failure' || (last_job !== null && ENDS.includes(last_job.state));
}

export interface IWatched {
  /** Null until the cluster tells of it. */
  pipeline: IPipeline | null;
  /** Why the last look failed. */
  error: RequestError | null;
}

/** The state of a pipeline, looked at while `element` is on the page. */
export function usePipeline(project: string, name: string, element: RefObject<Element>): IWatched {
  const [watched, setWatched] = useState<IWatched>({ pipeline: null, error: null });
  useEffect(() => {
    let isOver = false;
    const look = async () => {
      try {
        const [pipeline = null] = await get<IPipeline[]>('pps/_pipelines', { project, name });
        if (isOver) {
          return;
        }
        setWatched({ pipeline, error: null });
        if (pipeline && isSettled(pipeline)) {
          void poll.stop();
        }
      } catch (error) {
        if (!isOver) {
          setWatched(last => ({ ...last, error: asRequestError(error) }));
        }
        throw error; // the poll backs off
      }
    };
    const poll = new Poll({
      name: 'pachmount-lab:pipeline',
      factory: look,
      frequency: { interval: WATCH_INTERVAL, backoff: true, max: MAX_WATCH_INTERVAL },
      standby: () => (isOnPage(element.current) ? 'when-hidden' : true)
    });
    return () => {
      isOver = true;
      poll.dispose();
    };
  }, [project, name, element]);
  return watched;
}
