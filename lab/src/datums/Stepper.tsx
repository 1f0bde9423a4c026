import React, { useState } from 'react';
import { Clipboard } from '@jupyterlab/apputils';

import { ErrorMessage } from '../common/Message';
import type { IContext } from '../context';
import { isNumber } from './model';

/** Which datum is shown, and how to get to another one. */
export function Stepper({ model, shown, trans }: IContext): JSX.Element | null {
  const { datums } = model;
  const { position, datum } = datums;
  if (position === null) {
    return null;
  }
  const isListing = !position.all_datums_received;
  const step = async (done: Promise<boolean>) => {
    if (await done) {
      shown.directory = '';
    }
  };
  const button = (label: string, sign: string, onClick: () => Promise<boolean>, testId?: string) => (
    <button
      type="button"
      className="pach-Button"
      title={label}
      aria-label={label}
      data-testid={testId}
      onClick={() => step(onClick())}
    >
      <span aria-hidden="true">{sign}</span>
    </button>
  );

  return (
    <div className="pach-Stepper">
      <div className="pach-Stepper-row" role="group" aria-label={trans.__('Datums')}>
        {button(trans.__('First datum'), '⇤', () => datums.first(), 'Datum__cyclerFirst')}
        {button(trans.__('Previous datum'), '←', () => datums.previous(), 'Datum__cyclerLeft')}
        <span className="pach-Stepper-position" role="status" data-testid="Datum__position">
          {isListing
            ? trans.__('(%1/%2+)', position.idx + 1, position.num_datums)
            : trans.__('(%1/%2)', position.idx + 1, position.num_datums)}
        </span>
        {button(trans.__('Next datum'), '→', () => datums.next(), 'Datum__cyclerRight')}
        {button(
          isListing ? trans.__('Last datum known so far') : trans.__('Last datum'),
          '⇥',
          () => datums.last(),
          'Datum__cyclerLast'
        )}
      </div>
      <div className="pach-Stepper-notes" aria-live="polite">
        {datums.end === 'first' && trans.__('This is the first datum.')}
        {datums.end === 'last' && trans.__('This is the last datum.')}
      </div>
      {datums.stepError && (
        <ErrorMessage trans={trans} error={datums.stepError} testId="Datum__stepErrorMessage" />
      )}
      {datum?.error ? (
        <ErrorMessage
          trans={trans}
          error={{
            what: trans.__('The list of datums ended early: %1', datum.error.error),
            why: datum.error.why,
            hint: datum.error.hint
          }}
          testId="Datum__listErrorMessage"
        />
      ) : (
        isListing &&
        datum && (
          <div className="pach-Stepper-notes" role="status">
            {trans.__(
              'Still listing: matched %1 so far, %2 datums are known',
              datum.matched.toLocaleString(),
              datum.received.toLocaleString()
            )}
          </div>
        )
      )}
      <div className="pach-Stepper-id">
        <span>{trans.__('Id')}</span>
        <code title={position.id}>{position.id}</code>
        <button
          type="button"
          className="pach-LinkButton"
          aria-label={trans.__('Copy the id of the datum')}
          onClick={() => Clipboard.copyToSystem(position.id)}
        >
          {trans.__('Copy')}
        </button>
      </div>
      <GoTo trans={trans} known={position.num_datums} onShow={wanted => step(datums.show(wanted))} />
    </div>
  );
}

interface IGoToProps {
  trans: IContext['trans'];
  known: number;
  onShow: (wanted: string) => void;
}

function GoTo({ trans, known, onShow }: IGoToProps): JSX.Element {
  const [wanted, setWanted] = useState('');
  const [isRefused, setRefused] = useState(false);
  const trimmed = wanted.trim();
  return (
    <form
      onSubmit={event => {
        event.preventDefault();
        const isOutside = isNumber(trimmed) && (Number(trimmed) < 1 || Number(trimmed) > known);
        setRefused(isOutside);
        if (trimmed && !isOutside) {
          onShow(trimmed);
        }
      }}
    >
      <div className="pach-Stepper-goTo">
        <input
          className="pach-Field-input"
          data-testid="Datum__indexInput"
          aria-label={trans.__('Number or id of a datum')}
          aria-invalid={isRefused}
          aria-describedby="pach-datum-refused"
          placeholder={trans.__('Number or id')}
          value={wanted}
          onChange={event => {
            setWanted(event.target.value);
            setRefused(false);
          }}
        />
        <button type="submit" className="pach-Button" disabled={!trimmed}>
          {trans.__('Show')}
        </button>
      </div>
      <div id="pach-datum-refused" role="status">
        {isRefused && trans.__('There are the datums 1 to %1.', known)}
      </div>
    </form>
  );
}
