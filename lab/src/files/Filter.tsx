import React, { useEffect, useRef, useState } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Listing } from './listing';

/** Milliseconds without a key before the server is asked. */
export const DEBOUNCE = 250;

/** The box that narrows the directory to names that contain a text; the server looks through all of them. */
export function Filter({ trans, listing }: { trans: TranslationBundle; listing: Listing }): JSX.Element {
  const [text, setText] = useState(listing.filter);
  const timer = useRef<number>();

  const apply = (filter: string, delay: number) => {
    setText(filter);
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => void listing.setFilter(filter), delay);
  };

  useEffect(() => {
    setText('');
    return () => window.clearTimeout(timer.current); // what was typed was meant for the directory left
  }, [listing, listing.path]);

  return (
    <input
      type="search"
      className="pach-Field-input pach-Files-filter"
      placeholder={trans.__('Filter files by name')}
      aria-label={trans.__('Filter files by name')}
      data-testid="Files__filter"
      value={text}
      onChange={event => apply(event.target.value, DEBOUNCE)}
      onKeyDown={event => {
        if (event.key === 'Escape' && text) {
          apply('', 0);
        }
      }}
    />
  );
}
