import React from 'react';

import { ErrorMessage } from '../common/Message';
import { useSignal } from '../common/signal';
import type { IContext } from '../context';
import { fieldId, Fields } from './Fields';
import { missingFields, previewOf, type Field } from './form';
import type { Obstacle } from './model';
import { PipelineState } from './PipelineState';

/** The notebook in use as a pipeline of the cluster. */
export function PublishView(context: IContext): JSX.Element {
  const { model, publish, trans } = context;
  useSignal(publish.changed);
  useSignal(model.changed);

  if (publish.path === null) {
    return (
      <section aria-label={trans.__('Publish')} className="pach-Publish">
        <Current {...context} />
        <p className="pach-Publish-splash" data-testid="Pipeline__splash">
          {trans.__('Open a notebook to make a pipeline of it.')}
        </p>
      </section>
    );
  }
  return (
    <section aria-label={trans.__('Publish')} className="pach-Publish">
      <Current {...context} />
      <Hindrance {...context} />
      <Fields {...context} />
      <label className="pach-Field">
        <span className="pach-Field-label">{trans.__('Pipeline')}</span>
        <textarea
          className="pach-Field-input pach-Field-code pach-Publish-preview"
          data-testid="Pipeline__specPreview"
          value={previewOf(publish.form)}
          rows={8}
          wrap="off"
          readOnly
        />
      </label>
      <Run {...context} />
    </section>
  );
}

function Current({ publish, trans }: IContext): JSX.Element {
  const path = publish.path ?? '';
  return (
    <div className="pach-Publish-current">
      <span className="pach-Field-label">{trans.__('Notebook')}</span>
      <span className="pach-Publish-path" title={path} data-testid="Pipeline__currentNotebookValue">
        {path.split('/').pop() || trans.__('None')}
      </span>
    </div>
  );
}

/** Why Run would not work here. */
function Hindrance({ model, publish, shown, trans }: IContext): JSX.Element | null {
  const sentences: Record<Obstacle, string> = {
    loading: trans.__('The notebook is being read…'),
    'other-drive': trans.__(
      'This notebook is on another drive. Save a copy among the files of Jupyter, and publish that.'
    ),
    'read-only': trans.__('This notebook is read-only. Save a copy, and publish that.')
  };
  if (publish.obstacle) {
    return (
      <div className="pach-Message" role="status" data-testid="Pipeline__obstacle">
        {sentences[publish.obstacle]}
      </div>
    );
  }
  if (!model.status?.cluster.embedded && publish.outcome.error?.id !== 'needs-cluster') {
    return null;
  }
  return (
    <div className="pach-Message jp-mod-warn" role="status" data-testid="Pipeline__needsCluster">
      <div className="pach-Message-text">
        <span>
          {model.status?.cluster.embedded
            ? trans.__(
                'Publishing needs a cluster that runs pipelines: the embedded server keeps files alone.'
              )
            : trans.__('Publishing needs a cluster that runs pipelines: this one does not.')}
        </span>
        <button type="button" className="pach-LinkButton" onClick={() => (shown.view = 'settings')}>
          {trans.__('Choose a cluster in Settings')}
        </button>
      </div>
    </div>
  );
}

/** The button, and what became of it. */
function Run({ model, publish, trans }: IContext): JSX.Element {
  const { busy, error, published } = publish.outcome;
  const missing = missingFields(publish.form);
  const labels: Partial<Record<Field, string>> = {
    name: trans.__('Name'),
    image: trans.__('Image'),
    inputSpec: trans.__('Input spec')
  };
  const canRun =
    publish.obstacle === null && !busy && !model.status?.cluster.embedded && missing.length === 0;
  const onRun = () => {
    if (canRun) {
      void publish.run();
    } else if (missing.length > 0) {
      document.getElementById(fieldId(missing[0]))?.focus();
    }
  };
  return (
    <div className="pach-Publish-run">
      <button
        type="button"
        className="pach-Button jp-mod-accept"
        data-testid="Pipeline__create_pipeline"
        aria-disabled={!canRun}
        onClick={onRun}
        aria-describedby={missing.length > 0 ? 'pach-publish-missing' : undefined}
      >
        {busy ? trans.__('Publishing…') : trans.__('Run')}
      </button>
      {missing.length > 0 && publish.obstacle === null && (
        <span id="pach-publish-missing" className="pach-Publish-note" data-testid="Pipeline__missing">
          {trans.__('Still needed: %1', missing.map(field => labels[field]).join(', '))}
        </span>
      )}
      {error && (
        <ErrorMessage
          trans={trans}
          error={{ ...error, what: trans.__('Error creating pipeline: %1', error.what) }}
          testId="Pipeline__errorMessage"
        />
      )}
      <div role="status">
        {published && (
          <div className="pach-Message">
            <div className="pach-Message-text">
              <span data-testid="Pipeline__responseMessage">{published.message}</span>
              {published.warnings?.map(warning => (
                <span key={warning}>{warning}</span>
              ))}
            </div>
          </div>
        )}
      </div>
      {published && (
        <PipelineState key={published.run} trans={trans} project={published.project} name={published.name} />
      )}
    </div>
  );
}
