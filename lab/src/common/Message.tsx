import React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { RequestError } from '../api';

export interface IMessageProps {
  trans: TranslationBundle;
  error: Pick<RequestError, 'what' | 'why' | 'hint'>;
  onDismiss?: () => void;
  testId?: string;
}

/** What failed, why, and what to do about it. */
export function ErrorMessage({ trans, error, onDismiss, testId }: IMessageProps): JSX.Element {
  return (
    <div className="pach-Message jp-mod-error" role="alert" data-testid={testId}>
      <div className="pach-Message-text">
        <span>{error.why ? `${error.what} — ${error.why}` : error.what}</span>
        {error.hint && <span className="pach-Message-hint">{trans.__('Hint: %1', error.hint)}</span>}
      </div>
      {onDismiss && (
        <button
          type="button"
          className="pach-Button pach-Button-icon"
          aria-label={trans.__('Dismiss')}
          onClick={onDismiss}
        >
          ×
        </button>
      )}
    </div>
  );
}
