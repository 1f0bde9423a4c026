import { useEffect, useRef, type RefObject } from 'react';

/** Whether an element takes any room on the page: not in a hidden tab or a closed sidebar. */
export function isOnPage(element: Element | null): boolean {
  return element !== null && element.getClientRects().length > 0;
}

/** Call back whenever an element comes into sight: at first, and again with its tab, its sidebar, or the page. */
export function useSeen(element: RefObject<Element>, onSeen: () => void): void {
  const callback = useRef(onSeen);
  callback.current = onSeen;
  useEffect(() => {
    let wasSeen = false;
    const look = () => {
      const isSeen = isOnPage(element.current) && document.visibilityState === 'visible';
      if (isSeen && !wasSeen) {
        callback.current();
      }
      wasSeen = isSeen;
    };
    const observer = new ResizeObserver(look);
    observer.observe(element.current!);
    document.addEventListener('visibilitychange', look);
    look();
    return () => {
      observer.disconnect();
      document.removeEventListener('visibilitychange', look);
    };
  }, [element]);
}
