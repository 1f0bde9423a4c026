import React, { useLayoutEffect, useRef, useState } from 'react';

import { RequestError } from '../api';
import { ErrorMessage } from '../common/Message';
import { useSignal } from '../common/signal';
import type { IContext } from '../context';
import { asRequestError } from '../model';
import { conditionsOf, type ICondition } from './conditions';
import { useConfirmed, useDismissed, useMinutes } from './hooks';

/** What is wrong with the daemon, the cluster, the login or FUSE, while it is: the worst, and the rest on request. */
export function Banner(context: IContext): JSX.Element | null {
  const { model, trans } = context;
  const [isOpen, setOpen] = useState(false);
  useSignal(model.changed);
  useMinutes();
  const all = conditionsOf(trans, model.state, model.lost, Date.now() / 1000);
  const [conditions, dismiss] = useDismissed(useConfirmed(all, model));
  if (conditions.length === 0) {
    return null;
  }
  const [worst, ...others] = conditions;
  return (
    <div
      className="pach-Banner"
      role="region"
      aria-label={trans.__('Notices')}
      tabIndex={0} // it may have to be scrolled with keys
      data-testid="Banner"
    >
      {[worst, ...(isOpen ? others : [])].map(condition => (
        <Condition
          key={condition.kind}
          {...context}
          condition={condition}
          onDismiss={() => dismiss(condition)}
        />
      ))}
      {others.length > 0 && (
        <button
          type="button"
          className="pach-Banner-more"
          aria-expanded={isOpen}
          onClick={() => setOpen(!isOpen)}
        >
          {isOpen ? trans.__('Less') : trans._n('%1 more notice', '%1 more notices', others.length)}
        </button>
      )}
    </div>
  );
}

const STYLES: Record<ICondition['severity'], string> = {
  error: 'jp-mod-error',
  warning: 'jp-mod-warn',
  hint: 'jp-mod-info'
};

interface IConditionProps extends IContext {
  condition: ICondition;
  onDismiss: () => void;
}

function Condition({ model, shown, trans, condition, onDismiss }: IConditionProps): JSX.Element {
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<RequestError | null>(null);
  const frame = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const element = frame.current;
    return () => {
      if (element?.contains(document.activeElement)) {
        // what had the focus goes away: the keyboard stays in the panel
        document.getElementById(`pach-tab-${shown.view}`)?.focus();
      }
    };
  }, [shown]);

  const help = async () => {
    if (condition.remedy === 'login' || condition.remedy === 'settings') {
      shown.view = 'settings';
      return;
    }
    if (isBusy) {
      return;
    }
    setBusy(true);
    setFailure(null);
    try {
      await model.startDaemon(condition.remedy === 'restart');
    } catch (error) {
      setFailure(asRequestError(error));
    } finally {
      setBusy(false);
    }
  };

  return (
    <div
      ref={frame}
      className={`pach-Message pach-Banner-item ${STYLES[condition.severity]}`}
      role={condition.severity === 'error' ? 'alert' : 'status'}
      data-testid={`Banner__${condition.kind}`}
    >
      <div className="pach-Message-text">
        <strong>{condition.what}</strong>
        {condition.why && <span>{condition.why}</span>}
        {condition.hint && <span>{condition.hint}</span>}
        {failure && <ErrorMessage trans={trans} error={failure} />}
        {condition.remedy && (
          <button
            type="button"
            className="pach-Button pach-Banner-remedy"
            data-testid="Banner__remedy"
            aria-disabled={isBusy}
            onClick={help}
          >
            {isBusy ? trans.__('Starting…') : condition.label}
          </button>
        )}
      </div>
      {condition.severity === 'hint' && (
        <button
          type="button"
          className="pach-Button pach-Button-icon"
          aria-label={trans.__('Dismiss')}
          onClick={onDismiss}
        >
          <span aria-hidden="true">×</span>
        </button>
      )}
    </div>
  );
}
