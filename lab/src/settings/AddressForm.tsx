import React, { useEffect, useRef, useState } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Cluster } from './actions';
import { encodeCertificates, hasScheme, SCHEMES } from './address';
import { CertificatesField } from './CertificatesField';

const ADDRESS_EXAMPLE = 'grpc://host:30650';

export interface IAddressFormProps {
  trans: TranslationBundle;
  busy: boolean;
  onSubmit: (cluster: Cluster) => void;
  /** Missing where there is no cluster to go back to. */
  onCancel?: () => void;
}

/** The address of a cluster, and the certificates to trust. */
export function AddressForm({ trans, busy, onSubmit, onCancel }: IAddressFormProps): JSX.Element {
  const [text, setText] = useState('');
  const [isWrong, setWrong] = useState(false);
  const [isAdvanced, setAdvanced] = useState(false);
  const [certificates, setCertificates] = useState('');
  const input = useRef<HTMLInputElement>(null);
  const address = text.trim();
  const isEditing = onCancel !== undefined;

  useEffect(() => {
    if (isEditing) {
      input.current?.focus(); // asked for by a click, which is not so where there is no cluster
    }
  }, [isEditing]);

  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    setWrong(!hasScheme(address));
    if (hasScheme(address)) {
      const server_cas = encodeCertificates(certificates);
      onSubmit(server_cas ? { pachd_address: address, server_cas } : { pachd_address: address });
    } else {
      input.current?.focus();
    }
  };

  return (
    <form className="pach-Settings-form" onSubmit={submit} noValidate>
      <div className="pach-Field">
        <label className="pach-Field-label" htmlFor="pach-address">
          {trans.__('Address of a cluster')}
        </label>
        <input
          ref={input}
          id="pach-address"
          className="pach-Field-input"
          data-testid="Config__pachdAddressInput"
          placeholder={ADDRESS_EXAMPLE}
          value={text}
          spellCheck={false}
          autoCapitalize="off"
          aria-invalid={isWrong}
          aria-describedby="pach-address-problem"
          onChange={event => {
            setText(event.target.value);
            setWrong(false);
          }}
        />
        <div id="pach-address-problem" role="alert">
          {isWrong && (
            <div className="pach-Message jp-mod-error" data-testid="Config__addressProblem">
              {trans.__('An address begins with %1.', SCHEMES.map(scheme => `${scheme}://`).join(', '))}
            </div>
          )}
        </div>
      </div>
      <button
        type="button"
        className="pach-LinkButton"
        data-testid="Config__advancedSettingsToggle"
        aria-expanded={isAdvanced}
        onClick={() => {
          setCertificates('');
          setAdvanced(!isAdvanced);
        }}
      >
        {isAdvanced ? trans.__('Clear Advanced Settings') : trans.__('Use Advanced Settings')}
      </button>
      {isAdvanced && <CertificatesField trans={trans} text={certificates} onChange={setCertificates} />}
      <div className="pach-Settings-actions">
        <button
          type="submit"
          className="pach-Button jp-mod-accept"
          data-testid="Config__pachdAddressSubmit"
          disabled={address === '' || busy}
        >
          {trans.__('Set Address')}
        </button>
        {onCancel && (
          <button
            type="button"
            className="pach-Button"
            data-testid="Config__pachdAddressCancel"
            onClick={onCancel}
          >
            {trans.__('Cancel')}
          </button>
        )}
      </div>
    </form>
  );
}
