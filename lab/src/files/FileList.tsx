import React, { useEffect, useLayoutEffect, useRef, useState } from 'react';

import type { BrowserModel } from './browser';
import { rowAfterKey, TypeAhead } from './keyboard';
import { FilesMenu } from './menu';
import { Row } from './Row';
import { ROW_HEIGHT, rowsInView, scrollTopFor } from './window';

const LIST_ID = 'jupyterlab-pachyderm-browser';

export interface IFileListProps {
  browser: BrowserModel;
  chooseFiles: () => void;
}

/** The rows in view, and room for all others. */
export function FileList({ browser, chooseFiles }: IFileListProps): JSX.Element {
  const { listing, context, active } = browser;
  const { trans } = context;
  const grid = useRef<HTMLDivElement>(null);
  const { top, height } = useScroll(grid);
  const [typeAhead] = useState(() => new TypeAhead());
  const menu = useMenu(browser, chooseFiles, grid);
  const { first, last, count } = rowsInView(top, height, listing.rowCount);
  const page = Math.floor(height / ROW_HEIGHT) - 1; // without the header

  useEffect(() => listing.need(last - 1));
  useEffect(() => {
    grid.current!.scrollTop = 0;
  }, [listing.path, listing.filter]);
  useLayoutEffect(() => {
    if (browser.reveals > 0 && active >= 0) {
      grid.current!.scrollTop = scrollTopFor(active, grid.current!.scrollTop, height);
    }
  }, [browser.reveals]);

  const openMenuAtRow = () => {
    const row = document.getElementById(rowId(active)) ?? grid.current!;
    const { left, bottom } = row.getBoundingClientRect();
    menu.current?.open(browser.activeEntry, left + 24, bottom);
  };

  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.target !== grid.current || event.ctrlKey || event.metaKey || event.altKey) {
      return; // a name is being edited, or it is a shortcut
    }
    if (handleKey(event)) {
      event.preventDefault();
      event.stopPropagation();
    }
  };

  const handleKey = (event: React.KeyboardEvent): boolean => {
    const row = rowAfterKey(event.key, active, count, page);
    if (row !== null) {
      browser.choose(row);
      return true;
    }
    const entry = browser.activeEntry;
    if (event.key === 'ContextMenu' || (event.key === 'F10' && event.shiftKey)) {
      openMenuAtRow();
    } else if (event.key === 'Backspace') {
      browser.enterParent();
    } else if (event.key === 'Enter' && entry) {
      void browser.open(entry);
    } else if (event.key === 'F2' && entry && listing.writable) {
      browser.startRenaming(entry);
    } else if (event.key === 'Delete' && entry && listing.writable) {
      void browser.actions.remove(entry);
    } else if (event.key.length === 1 && (event.key !== ' ' || typeAhead.isTyping(Date.now()))) {
      const found = typeAhead.find(event.key, Date.now(), listing.entries, active);
      if (found >= 0) {
        browser.choose(found);
      }
    } else {
      return false;
    }
    return true;
  };

  const onContextMenu = (event: React.MouseEvent) => {
    if (event.target instanceof HTMLInputElement) {
      return; // the menu of the browser: paste, …
    }
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has a menu of its own
    const row = (event.target as Element).closest('[data-index]');
    const entry = row ? listing.entries[Number(row.getAttribute('data-index'))] : null;
    if (event.button === 2) {
      menu.current?.open(entry ?? null, event.clientX, event.clientY);
    }
  };

  const rows = [];
  for (let index = first; index < last; index++) {
    rows.push(
      <Row
        key={index}
        id={rowId(index)}
        browser={browser}
        index={index}
        focusList={() => grid.current?.focus()}
      />
    );
  }
  const isActiveShown = active >= first && active < last;

  return (
    <div
      id={LIST_ID}
      ref={grid}
      role="grid"
      tabIndex={0}
      className="pach-Files-list"
      data-testid="Files__list"
      aria-label={trans.__('Files in %1', `/ pfs / ${listing.path}`)}
      aria-rowcount={listing.isCounted ? count + 1 : -1}
      aria-colcount={3}
      aria-busy={listing.loading}
      aria-activedescendant={isActiveShown ? rowId(active) : undefined}
      onKeyDown={onKeyDown}
      onContextMenu={onContextMenu}
      onFocus={event => {
        if (event.target === grid.current && active < 0 && count > 0) {
          browser.choose(0, false);
        }
      }}
    >
      <div role="rowgroup" className="pach-Files-header">
        <div role="row" aria-rowindex={1} className="pach-Files-columns">
          <span role="columnheader">{trans.__('Name')}</span>
          <span role="columnheader">{trans.__('Size')}</span>
          <span role="columnheader">{trans.__('Modified')}</span>
        </div>
      </div>
      <div role="rowgroup" className="pach-Files-rows" style={{ height: count * ROW_HEIGHT }}>
        {rows}
      </div>
    </div>
  );
}

function rowId(index: number): string {
  return `pach-file-${index}`;
}

/** How far an element is scrolled, and how high it is. */
function useScroll(element: React.RefObject<HTMLElement>): { top: number; height: number } {
  const [scroll, setScroll] = useState({ top: 0, height: 0 });
  useLayoutEffect(() => {
    const node = element.current!;
    const look = () =>
      setScroll(before =>
        before.top === node.scrollTop && before.height === node.clientHeight
          ? before
          : { top: node.scrollTop, height: node.clientHeight }
      );
    const observer = new ResizeObserver(look);
    observer.observe(node);
    node.addEventListener('scroll', look, { passive: true });
    look();
    return () => {
      observer.disconnect();
      node.removeEventListener('scroll', look);
    };
  }, []);
  return scroll;
}

function useMenu(
  browser: BrowserModel,
  chooseFiles: () => void,
  list: React.RefObject<HTMLElement>
): React.RefObject<FilesMenu> {
  const menu = useRef<FilesMenu | null>(null);
  useEffect(() => {
    const made = new FilesMenu(browser, chooseFiles, () => list.current?.focus());
    menu.current = made;
    return () => made.dispose();
  }, [browser]);
  return menu;
}
