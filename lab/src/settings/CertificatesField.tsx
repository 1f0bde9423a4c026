import React, { useState } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

/** Bytes of a file of certificates at most; the bundle of a whole system has a few hundred KiB. */
const MOST_BYTES = 2 ** 20;

const PEM_EXAMPLE = '-----BEGIN CERTIFICATE-----';

export interface ICertificatesFieldProps {
  trans: TranslationBundle;
  text: string;
  onChange: (text: string) => void;
}

/** Certificates to trust: typed, or from a file of this computer. */
export function CertificatesField({ trans, text, onChange }: ICertificatesFieldProps): JSX.Element {
  const [problem, setProblem] = useState('');

  const onFile = async (event: React.ChangeEvent<HTMLInputElement>) => {
    const chosen = event.target;
    const file = chosen.files?.[0];
    if (!file) {
      return;
    }
    if (file.size > MOST_BYTES) {
      setProblem(trans.__('%1 is too large for certificates.', file.name));
    } else {
      try {
        onChange(await file.text());
        setProblem('');
      } catch (error) {
        setProblem(trans.__('%1 cannot be read: %2', file.name, String(error)));
      }
    }
    chosen.value = ''; // the same file can be chosen again
  };

  return (
    <div className="pach-Field">
      <label className="pach-Field-label" htmlFor="pach-server-cas">
        {trans.__('Server CAs')}
      </label>
      <textarea
        id="pach-server-cas"
        className="pach-Field-input pach-Field-code"
        data-testid="Config__serverCaInput"
        rows={4}
        wrap="off"
        spellCheck={false}
        placeholder={PEM_EXAMPLE}
        value={text}
        onChange={event => onChange(event.target.value)}
      />
      <input
        type="file"
        className="pach-Settings-file"
        data-testid="Config__serverCaFile"
        accept=".pem,.crt,.cer,.ca-bundle"
        aria-label={trans.__('A file of certificates in PEM')}
        onChange={event => void onFile(event)}
      />
      <div role="alert">{problem && <div className="pach-Message jp-mod-error">{problem}</div>}</div>
    </div>
  );
}
