import React from 'react';

import { useSignal } from '../common/signal';
import type { IContext } from '../context';
import { DatumFiles } from './DatumFiles';
import { SpecEditor } from './SpecEditor';
import { Staged } from './Staged';
import { Stepper } from './Stepper';

/** What the code of a pipeline would see, datum by datum, in the place of the mounts. */
export function TestView(context: IContext): JSX.Element {
  const { model, shown, trans } = context;
  const { datums } = model;
  useSignal(datums.changed);
  const { datum, busy, text, isEdited } = datums;
  const canLoad = model.usable && text.trim() !== '' && busy === '';

  const onLoad = async () => {
    if (canLoad && (await datums.load())) {
      shown.directory = '';
    }
  };
  const onBack = async () => {
    if (await datums.leave()) {
      shown.directory = '';
      if (shown.view === 'test') {
        shown.view = 'explore';
        document.getElementById('pach-tab-explore')?.focus();
      }
    }
  };

  return (
    <section aria-label={trans.__('Test')} className="pach-Test" aria-busy={busy === 'load'}>
      <p className="pach-Test-about" data-testid="Datum__infoMessage">
        {datum
          ? trans.__('The mount directory shows one datum, as a pipeline sees it.')
          : trans.__('Shows one datum after the other in the mount directory, as a pipeline sees them.')}
      </p>
      <SpecEditor
        trans={trans}
        text={text}
        error={datums.loadError}
        readOnly={busy === 'load'}
        onChange={changed => (datums.text = changed)}
      />
      <div className="pach-Test-actions">
        <button
          type="button"
          className="pach-Button jp-mod-accept"
          data-testid="Datum__mountDatums"
          aria-disabled={!canLoad}
          onClick={onLoad}
        >
          {busy === 'load' ? trans.__('Loading…') : trans.__('Load Datums')}
        </button>
        {datum && (
          <button
            type="button"
            className="pach-Button"
            data-testid="Datum__back"
            aria-disabled={busy !== ''}
            onClick={onBack}
          >
            {trans.__('Back to Mounts')}
          </button>
        )}
        {isEdited && (
          <button
            type="button"
            className="pach-LinkButton"
            data-testid="Datum__reset"
            onClick={() => {
              datums.reset();
              document.getElementById('pach-datum-spec')?.focus();
            }}
          >
            {datum ? trans.__('Spec of this datum') : trans.__('Spec of the mounts')}
          </button>
        )}
      </div>
      <div role="status" className="pach-Test-progress">
        {busy === 'load' && trans.__('Looking for the first datum; this may take a few minutes.')}
      </div>
      {!datum && <Staged trans={trans} mounts={model.mounts} />}
      <Stepper {...context} />
      {datum && (
        <DatumFiles
          key={datum.id}
          trans={trans}
          files={datum.files}
          onBrowse={directory => (shown.directory = directory)}
        />
      )}
    </section>
  );
}
