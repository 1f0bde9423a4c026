import React, { useState } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IDatumFile } from '../api';
import { formatBytes } from '../common/text';

/** Rows at a time: a datum may have thousands of files. */
export const PAGE = 50;

export interface IDatumFilesProps {
  trans: TranslationBundle;
  files: readonly IDatumFile[];
  /** Show a directory of the drive. */
  onBrowse: (directory: string) => void;
}

/** The files of a datum, a page at a time; a click shows where one lies. */
export function DatumFiles({ trans, files, onBrowse }: IDatumFilesProps): JSX.Element {
  const [wanted, setStart] = useState(0);
  const start = wanted < files.length ? wanted : 0;
  const page = files.slice(start, start + PAGE);
  return (
    <section className="pach-DatumFiles" aria-label={trans.__('Files of the datum')}>
      <h3 className="pach-DatumFiles-title">
        {trans._n('%1 file', '%1 files', files.length)}
        <button
          type="button"
          className="pach-LinkButton"
          title={trans.__('Show the directory for output: empty and writable')}
          data-testid="Datum__out"
          onClick={() => onBrowse('out')}
        >
          {trans.__('out')}
        </button>
      </h3>
      <ul className="pach-DatumFiles-list">
        {page.map(file => (
          <li key={`${file.input}:${file.path}`} className="pach-DatumFiles-file">
            <button
              type="button"
              className="pach-DatumFiles-path"
              title={`/pfs/${file.input}${file.path}`}
              onClick={() => onBrowse(directoryOf(file))}
            >
              <span className="pach-DatumFiles-input">{file.input}</span>
              <bdi>{file.path}</bdi>
            </button>
            <span className="pach-DatumFiles-size">{formatBytes(file.size_bytes)}</span>
          </li>
        ))}
      </ul>
      {files.length > PAGE && (
        <div className="pach-DatumFiles-pages">
          <button
            type="button"
            className="pach-Button"
            aria-label={trans.__('Files before')}
            disabled={start === 0}
            onClick={() => setStart(start - PAGE)}
          >
            <span aria-hidden="true">←</span>
          </button>
          <span role="status">
            {trans.__('%1 to %2 of %3', start + 1, start + page.length, files.length)}
          </span>
          <button
            type="button"
            className="pach-Button"
            aria-label={trans.__('Files after')}
            disabled={start + PAGE >= files.length}
            onClick={() => setStart(start + PAGE)}
          >
            <span aria-hidden="true">→</span>
          </button>
        </div>
      )}
    </section>
  );
}

/** The directory of the drive in which a file of the datum is seen; a directory is its own. */
function directoryOf({ input, path, type }: IDatumFile): string {
  const below = type === 'dir' ? path : path.slice(0, path.lastIndexOf('/'));
  return `${input}${below}`.replace(/\/+$/, '');
}
