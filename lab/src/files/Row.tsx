import React, { useEffect, useRef } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import { fileIcon, folderIcon, LabIcon } from '@jupyterlab/ui-components';

import type { IEntry } from '../api';
import { formatBytes } from '../common/text';
import type { BrowserModel } from './browser';
import { ROW_HEIGHT } from './window';

export interface IRowProps {
  id: string;
  browser: BrowserModel;
  index: number;
  focusList: () => void;
}

/** One entry; a placeholder until its page is here. */
export function Row({ id, browser, index, focusList }: IRowProps): JSX.Element {
  const { listing, active, renaming, context } = browser;
  const entry = listing.entries[index] as IEntry | undefined;
  return (
    <div
      id={id}
      role="row"
      aria-rowindex={index + 2}
      aria-selected={index === active}
      className={`pach-Files-columns pach-Files-row${index === active ? ' jp-mod-selected' : ''}`}
      style={{ top: index * ROW_HEIGHT, height: ROW_HEIGHT }}
      data-index={index}
      data-testid="Files__row"
      onMouseDown={() => browser.choose(index, false)}
      onDoubleClick={() => entry && void browser.open(entry)}
    >
      <span role="gridcell" className="pach-Files-name">
        <LabIcon.resolveReact icon={iconOf(browser, entry)} tag="span" className="pach-Files-icon" />
        {entry && renaming === entry.path ? (
          <NameEditor
            trans={context.trans}
            name={entry.name}
            onEnd={name => {
              void browser.endRenaming(entry, name);
              focusList();
            }}
          />
        ) : (
          <span className="pach-Files-text" title={entry?.name}>
            {entry?.name ?? '…'}
          </span>
        )}
      </span>
      <span role="gridcell" className="pach-Files-size">
        {entry && entry.type !== 'directory' && entry.size !== null ? formatBytes(entry.size) : ''}
      </span>
      <span role="gridcell" className="pach-Files-modified" title={formatTime(entry, true)}>
        {formatTime(entry, false)}
      </span>
    </div>
  );
}

function NameEditor(props: {
  trans: TranslationBundle;
  name: string;
  onEnd: (name: string) => void;
}): JSX.Element {
  const { trans, name, onEnd } = props;
  const input = useRef<HTMLInputElement>(null);
  const isEnded = useRef(false);
  useEffect(() => {
    const dot = name.lastIndexOf('.');
    input.current!.focus();
    input.current!.setSelectionRange(0, dot > 0 ? dot : name.length);
  }, []);
  const end = (text: string) => {
    if (!isEnded.current) {
      isEnded.current = true; // taking the input away blurs it
      onEnd(text);
    }
  };
  return (
    <input
      ref={input}
      className="pach-Field-input pach-Files-editor"
      aria-label={trans.__('New name of %1', name)}
      data-testid="Files__rename"
      defaultValue={name}
      onDoubleClick={event => event.stopPropagation()}
      onBlur={event => end(event.target.value.trim())}
      onKeyDown={event => {
        event.stopPropagation();
        if (event.key === 'Enter') {
          end(event.currentTarget.value.trim());
        } else if (event.key === 'Escape') {
          end('');
        }
      }}
    />
  );
}

function iconOf({ context }: BrowserModel, entry: IEntry | undefined): LabIcon {
  if (entry?.type === 'directory') {
    return folderIcon;
  }
  const types = entry ? (context.docRegistry?.getFileTypesForPath(entry.name) ?? []) : [];
  return types.find(type => type.icon)?.icon ?? fileIcon;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(undefined, { year: '2-digit', month: '2-digit', day: '2-digit' });

/** When an entry was modified: the time if that was today, else the day. */
function formatTime(entry: IEntry | undefined, long: boolean): string {
  const time = new Date(entry?.last_modified || NaN);
  if (isNaN(time.getTime())) {
    return '';
  }
  const isToday = time.toDateString() === new Date().toDateString();
  return long ? time.toLocaleString() : (isToday ? TIME : DAY).format(time);
}
