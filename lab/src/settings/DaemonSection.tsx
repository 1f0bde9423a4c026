import React, { useState } from 'react';

import type { DaemonState } from '../api';
import { ErrorMessage } from '../common/Message';
import { Question } from '../common/Question';
import { formatBytes } from '../common/text';
import type { IContext } from '../context';
import { Fact, Section } from './Section';
import { useTask } from './task';

/** The daemon: how it is, and a button to start it again. */
export function DaemonSection({ model, trans }: IContext): JSX.Element | null {
  const [asking, setAsking] = useState(false);
  const restart = useTask();
  const { state, status } = model;
  if (!state) {
    return null;
  }
  const words: Record<DaemonState, string> = {
    running: trans.__('running'),
    starting: trans.__('starting…'),
    stopped: trans.__('stopped'),
    failed: trans.__('failed to start'),
    unreachable: trans.__('does not answer'),
    'other-version': trans.__('of another version')
  };
  const canStart = state.daemon === 'stopped' || state.daemon === 'failed';
  const start = (again: boolean) => {
    setAsking(false);
    void restart.run(() => model.startDaemon(again));
  };

  return (
    <Section title={trans.__('Daemon')}>
      <dl className="pach-Facts">
        <Fact name={trans.__('State')} value={words[state.daemon]} testId="Config__daemonState" />
        <Fact name={trans.__('Version')} value={status?.version ?? state.version} />
        {status && (
          <>
            <Fact name={trans.__('Process')} value={status.pid} testId="Config__daemonPid" />
            <Fact name={trans.__('Memory')} value={formatBytes(status.rss_bytes)} />
            <Fact name={trans.__('Since')} value={new Date(status.started * 1000).toLocaleString()} />
          </>
        )}
      </dl>
      {state.error && <ErrorMessage trans={trans} error={{ ...state.error, what: state.error.error }} />}
      {restart.error && <ErrorMessage trans={trans} error={restart.error} testId="Config__daemonError" />}
      {state.sidecar ? (
        <p className="pach-Settings-note">
          {trans.__('It runs beside Jupyter and is not started from here.')}
        </p>
      ) : asking ? (
        <Question
          trans={trans}
          question={trans.__(
            'Start the daemon again? The mounts come back; programs that have files open there get errors.'
          )}
          answers={[
            { label: trans.__('Restart'), testId: 'Config__restartConfirm', onClick: () => start(true) }
          ]}
          onCancel={() => setAsking(false)}
          testId="Config__question"
        />
      ) : (
        <div className="pach-Settings-actions">
          <button
            type="button"
            className="pach-Button"
            data-testid="Config__restart"
            disabled={restart.busy || state.daemon === 'starting'}
            onClick={() => (canStart ? start(false) : setAsking(true))}
          >
            {restart.busy ? trans.__('Starting…') : canStart ? trans.__('Start') : trans.__('Restart')}
          </button>
        </div>
      )}
    </Section>
  );
}
