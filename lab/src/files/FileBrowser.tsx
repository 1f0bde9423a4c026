import React, { useEffect, useRef, useState } from 'react';
import { fileUploadIcon, newFolderIcon, refreshIcon, type LabIcon } from '@jupyterlab/ui-components';

import { useSignal } from '../common/signal';
import type { IContext } from '../context';
import { Breadcrumb } from './Breadcrumb';
import { BrowserModel } from './browser';
import { Contents } from './Contents';
import { Filter } from './Filter';
import { Messages } from './Messages';

/** What is mounted, as directories and files. */
export function FileBrowser(context: IContext): JSX.Element {
  const [browser, setBrowser] = useState<BrowserModel | null>(null);
  useEffect(() => {
    const made = new BrowserModel(context);
    setBrowser(made);
    return () => made.dispose();
  }, [context.model, context.shown]);

  return (
    <section aria-label={context.trans.__('Files')} className="pach-Files">
      {browser && <Shown browser={browser} />}
    </section>
  );
}

function Shown({ browser }: { browser: BrowserModel }): JSX.Element {
  useSignal(browser.changed);
  const input = useRef<HTMLInputElement>(null);
  const [isTarget, setIsTarget] = useState(false);
  const { listing, context } = browser;
  const { trans } = context;
  const chooseFiles = () => input.current?.click();

  const onDragOver = (event: React.DragEvent) => {
    if (event.dataTransfer.types.includes('Files')) {
      event.preventDefault(); // else the page would be left for the file
      event.dataTransfer.dropEffect = listing.writable ? 'copy' : 'none';
      setIsTarget(listing.writable);
    }
  };

  const onDrop = (event: React.DragEvent) => {
    event.preventDefault();
    setIsTarget(false);
    const items = [...event.dataTransfer.items];
    if (items.some(item => item.webkitGetAsEntry?.()?.isDirectory)) {
      browser.actions.fail(
        trans.__('Folders cannot be dropped here: make the folder, and drop its files into it')
      );
    } else if (listing.writable) {
      void browser.upload([...event.dataTransfer.files]);
    }
  };

  return (
    <div
      className={`pach-Files-shown${isTarget ? ' jp-mod-dropTarget' : ''}`}
      onDragOver={onDragOver}
      onDragLeave={() => setIsTarget(false)}
      onDrop={onDrop}
    >
      <div className="pach-Files-head">
        <Breadcrumb trans={trans} path={listing.path} onEnter={path => browser.enter(path)} />
        <div className="pach-Files-tools">
          {listing.writable && (
            <>
              <Tool
                testId="Files__upload"
                icon={fileUploadIcon}
                label={trans.__('Upload Files')}
                onClick={chooseFiles}
              />
              <Tool
                testId="Files__newFolder"
                icon={newFolderIcon}
                label={trans.__('New Folder')}
                onClick={() => void browser.newFolder()}
              />
            </>
          )}
          <Tool
            testId="Files__refresh"
            icon={refreshIcon}
            label={trans.__('Refresh Files')}
            onClick={() => void listing.reload()}
          />
        </div>
      </div>
      <Filter trans={trans} listing={listing} />
      <Messages browser={browser} />
      <Contents browser={browser} chooseFiles={chooseFiles} />
      <input
        ref={input}
        type="file"
        multiple
        hidden
        aria-label={trans.__('Files to upload')}
        data-testid="Files__uploadInput"
        onChange={event => {
          void browser.upload([...(event.target.files ?? [])]);
          event.target.value = ''; // so that the same file can be chosen again
        }}
      />
    </div>
  );
}

interface IToolProps {
  icon: LabIcon;
  label: string;
  testId: string;
  onClick: () => void;
}

function Tool({ icon, label, testId, onClick }: IToolProps): JSX.Element {
  return (
    <button
      type="button"
      className="pach-Button pach-Button-icon pach-Files-tool"
      aria-label={label}
      title={label}
      data-testid={testId}
      onClick={onClick}
    >
      <icon.react tag="span" />
    </button>
  );
}
