/** How many entries a directory has, while the daemon still lists it: asked for as long as somebody can see it. */
import { useEffect, type RefObject } from 'react';
import { Poll } from '@lumino/polling';

import { isOnPage } from '../common/visible';
import type { Listing } from './listing';

/** Milliseconds until the number is asked for again; more with every time that it is not known yet. */
export const COUNT_INTERVAL = 1000;
const MAX_COUNT_INTERVAL = 30000;

/** Complete the number of entries of what is listed, while `element` is on the page. */
export function useCount(listing: Listing, element: RefObject<Element>): void {
  const { path, filter } = listing;
  const isWanted = listing.loaded && !listing.isCounted;
  useEffect(() => {
    if (!isWanted) {
      return;
    }
    const poll = new Poll({
      name: 'pachmount-lab:count',
      factory: async () => {
        await listing.count();
        if (!listing.isCounted) {
          throw new Error('not known yet'); // the poll backs off, as it does when nobody answers
        }
        void poll.stop();
      },
      frequency: { interval: COUNT_INTERVAL, backoff: 1.5, max: MAX_COUNT_INTERVAL },
      standby: () => (isOnPage(element.current) ? 'when-hidden' : true)
    });
    return () => poll.dispose();
  }, [listing, path, filter, isWanted, element]);
}
