import React, { useRef } from 'react';

import { ErrorMessage } from '../common/Message';
import type { BrowserModel } from './browser';
import { useCount } from './counting';
import { FileList } from './FileList';
import { mountName, realPath } from './path';

export interface IContentsProps {
  browser: BrowserModel;
  chooseFiles: () => void;
}

/** The entries of the directory, or why there are none to be seen. */
export function Contents({ browser, chooseFiles }: IContentsProps): JSX.Element {
  const { listing, context } = browser;
  const isEmpty = listing.loaded && listing.rowCount === 0;
  const foot = useRef<HTMLDivElement>(null);
  useCount(listing, foot);
  return (
    <>
      {listing.error && <Failure browser={browser} />}
      {!listing.loaded && listing.loading && (
        <p className="pach-Files-state">{context.trans.__('Loading…')}</p>
      )}
      {isEmpty && (
        <p className="pach-Files-state" data-testid="Files__empty">
          {emptyText(browser)}
        </p>
      )}
      {(listing.loaded || !listing.error) && <FileList browser={browser} chooseFiles={chooseFiles} />}
      <div ref={foot} className="pach-Files-foot">
        <span role="status" data-testid="Files__count">
          {listing.loaded ? countText(browser) : ''}
        </span>
        <span role="status">{browser.actions.notice}</span>
      </div>
    </>
  );
}

function Failure({ browser }: { browser: BrowserModel }): JSX.Element {
  const { listing, context } = browser;
  const { trans, model } = context;
  const { path, error, loaded } = listing;
  const real = realPath(model.state, path);
  const isOutput = error!.status === 404 && mountName(path) === 'out' && !!model.status?.datum;
  return (
    <div className="pach-Files-failure">
      {isOutput ? (
        <p data-testid="Files__out">
          {real
            ? trans.__('This is where your code writes its output. It is not shown here; look into %1.', real)
            : trans.__('This is where your code writes its output. It is not shown here.')}
        </p>
      ) : (
        <ErrorMessage trans={trans} error={error!} testId="Files__error" />
      )}
      <button
        type="button"
        className="pach-Button"
        data-testid="Files__retry"
        onClick={() => void listing.retry()}
      >
        {trans.__('Try Again')}
      </button>
      {isOutput && real && (
        <button type="button" className="pach-Button" onClick={() => browser.actions.copy(real)}>
          {trans.__('Copy Path')}
        </button>
      )}
      {!loaded && path && (
        <button
          type="button"
          className="pach-Button"
          data-testid="Files__parent"
          onClick={() => browser.enterParent()}
        >
          {trans.__('To the Parent Folder')}
        </button>
      )}
    </div>
  );
}

function emptyText({ listing, context }: BrowserModel): string {
  const { trans } = context;
  if (listing.filter) {
    return trans.__('No name contains "%1".', listing.filter);
  }
  if (listing.path === '') {
    return trans.__('Nothing is mounted yet. Mount a repository under Explore, and its files appear here.');
  }
  return listing.writable
    ? trans.__('This folder is empty. Drop files here to upload them.')
    : trans.__('This folder is empty.');
}

function countText({ listing, context }: BrowserModel): string {
  const { trans } = context;
  const count = listing.rowCount;
  const shown = count.toLocaleString();
  if (!listing.isCounted) {
    return trans.__('More than %1 entries', shown);
  }
  return listing.filter
    ? trans._n('%2 entry found', '%2 entries found', count, shown)
    : trans._n('%2 entry', '%2 entries', count, shown);
}
