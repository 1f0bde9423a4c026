import React from 'react';

import { ErrorMessage } from '../common/Message';
import { formatBytes } from '../common/text';
import type { BrowserModel } from './browser';
import type { IUpload } from './uploads';

/** What could not be done, and what is being uploaded. */
export function Messages({ browser }: { browser: BrowserModel }): JSX.Element {
  const { actions, uploads, context } = browser;
  const { failure, tooLarge } = actions;
  const { trans } = context;
  return (
    <>
      {failure && (
        <ErrorMessage
          trans={trans}
          error={failure}
          testId="Files__failure"
          onDismiss={() => actions.dismiss()}
        />
      )}
      {tooLarge && (
        <button
          type="button"
          className="pach-Button pach-Files-offer"
          data-testid="Files__downloadInstead"
          onClick={() => void actions.download(tooLarge)}
        >
          {trans.__('Download %1 (%2)', tooLarge.name, formatBytes(tooLarge.size ?? 0))}
        </button>
      )}
      {uploads.all.length > 0 && (
        <ul className="pach-Files-uploads" aria-label={trans.__('Uploads')}>
          {uploads.all.map(upload => (
            <li key={upload.path}>
              <Upload browser={browser} upload={upload} />
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function Upload({ browser, upload }: { browser: BrowserModel; upload: IUpload }): JSX.Element {
  const { trans } = browser.context;
  const { name, sent, size, error } = upload;
  const dismiss = () => browser.uploads.dismiss(upload);
  if (error) {
    const what = trans.__('%1 was not uploaded: %2', name, error.what);
    return (
      <ErrorMessage
        trans={trans}
        error={{ ...error, what }}
        testId="Files__uploadError"
        onDismiss={dismiss}
      />
    );
  }
  return (
    <div className="pach-Files-upload" data-testid="Files__uploading">
      <span className="pach-Files-uploadName" title={name}>
        {name}
      </span>
      <progress aria-label={trans.__('Uploading %1', name)} value={sent} max={Math.max(size, 1)} />
      <button
        type="button"
        className="pach-Button pach-Button-icon"
        aria-label={trans.__('Cancel the upload of %1', name)}
        onClick={dismiss}
      >
        ×
      </button>
    </div>
  );
}
