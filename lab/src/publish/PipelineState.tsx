import React, { useRef } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IJob } from '../api';
import { ErrorMessage } from '../common/Message';
import { usePipeline } from './watch';

export interface IPipelineStateProps {
  trans: TranslationBundle;
  project: string;
  name: string;
}

/** How a pipeline and its last job are. */
export function PipelineState({ trans, project, name }: IPipelineStateProps): JSX.Element {
  const element = useRef<HTMLDivElement>(null);
  const { pipeline, error } = usePipeline(project, name, element);
  const job = pipeline?.last_job;
  return (
    <div ref={element} className="pach-Publish-state" data-testid="Pipeline__state">
      <div role="status">
        <dl className="pach-Facts">
          <dt>{trans.__('Pipeline')}</dt>
          <dd data-testid="Pipeline__pipelineState">
            <State trans={trans} state={pipeline?.state ?? ''} reason={pipeline?.reason} />
          </dd>
          <dt>{trans.__('Last job')}</dt>
          <dd data-testid="Pipeline__jobState">
            {job ? (
              <>
                <State trans={trans} state={job.state} reason={job.reason} />
                <Progress trans={trans} job={job} />
              </>
            ) : (
              trans.__('none yet')
            )}
          </dd>
        </dl>
      </div>
      {error && <ErrorMessage trans={trans} error={error} testId="Pipeline__stateError" />}
    </div>
  );
}

const BAD_STATES = ['failure', 'crashing', 'killed', 'unrunnable'];

/** The cluster's word for a state, and why it is so. */
function State(props: { trans: TranslationBundle; state: string; reason?: string }): JSX.Element {
  const { trans, state, reason } = props;
  return (
    <>
      <span className={BAD_STATES.includes(state) ? 'pach-Publish-bad' : undefined}>
        {state || trans.__('waiting for the cluster…')}
      </span>
      {reason && <span className="pach-Publish-reason">{reason}</span>}
    </>
  );
}

function Progress({ trans, job }: { trans: TranslationBundle; job: IJob }): JSX.Element | null {
  if (job.total === 0) {
    return null;
  }
  return (
    <>
      <progress max={job.total} value={job.done + job.failed} aria-label={trans.__('Datums that are done')} />
      <span>
        {trans._n('%2 of %1 datum done', '%2 of %1 datums done', job.total, job.done.toLocaleString())}
      </span>
      {job.failed > 0 && (
        <span className="pach-Publish-bad">
          {trans._n('%1 datum failed', '%1 datums failed', job.failed)}
        </span>
      )}
    </>
  );
}
