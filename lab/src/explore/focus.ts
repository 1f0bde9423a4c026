import { useLayoutEffect, useRef, type RefObject } from 'react';

/** Where the keyboard is sent when what had the focus goes away. */
export const MOUNTS_TITLE = 'pach-mounts-title';

/** The id of the button of a mount that gets the focus when a form of it closes. */
export function menuButtonId(name: string): string {
  return `pach-mount-menu-${name}`;
}

/** The ref of something that may go away while it has the focus: then the element with the id `target` gets it. */
export function useHandedFocus<T extends HTMLElement>(target: string): RefObject<T> {
  const element = useRef<T>(null);
  useLayoutEffect(() => {
    const shown = element.current;
    return () => {
      if (shown?.contains(document.activeElement)) {
        document.getElementById(target)?.focus();
      }
    };
  }, [target]);
  return element;
}
