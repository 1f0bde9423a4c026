import React from 'react';

import { useSignal } from '../common/signal';
import type { IContext } from '../context';
import { inputOf, toText } from '../datums/spec';
import { GPU_MODES, type Field, type GpuMode } from './form';

// names and syntax are the same in every language
const DEFAULT_PROJECT = 'default';
const REQUIREMENTS_EXAMPLE = 'requirements.txt';
const FILES_EXAMPLE = 'helpers.py, model.py';
const INPUT_EXAMPLE = `pfs:
  repo: images
  branch: master
  glob: /*
`;
const RESOURCES_EXAMPLE = `cpu: 2
memory: 4Gi
gpu:
  type: nvidia.com/gpu
  number: 1
`;

/** The id of the element of a field. */
export function fieldId(field: Field): string {
  return `pach-publish-${field}`;
}

/** What the pipeline shall be: every change goes to the notebook's metadata. */
export function Fields(context: IContext): JSX.Element {
  const { publish, trans } = context;
  const { form } = publish;
  const modes: Record<GpuMode, string> = {
    None: trans.__('None'),
    Simple: trans.__('Simple: one GPU'),
    Advanced: trans.__('Advanced: a resource spec')
  };
  return (
    <fieldset
      className="pach-Publish-fields"
      disabled={publish.obstacle !== null}
      aria-label={trans.__('What the pipeline shall be')}
    >
      <Text {...context} field="name" label={trans.__('Name')} testId="Pipeline__inputPipelineName" needed />
      <Text
        {...context}
        field="project"
        label={trans.__('Project')}
        testId="Pipeline__inputPipelineProjectName"
        placeholder={DEFAULT_PROJECT}
      />
      <Text {...context} field="image" label={trans.__('Image')} testId="Pipeline__inputImageName" needed />
      <Text
        {...context}
        field="requirements"
        label={trans.__('Requirements')}
        testId="Pipeline__inputRequirements"
        placeholder={REQUIREMENTS_EXAMPLE}
      />
      <Text
        {...context}
        field="externalFiles"
        label={trans.__('External files')}
        testId="Pipeline__inputExternalFiles"
        placeholder={FILES_EXAMPLE}
        note={trans.__('Files beside the notebook, with commas between them')}
      />
      <Text
        {...context}
        field="inputSpec"
        label={trans.__('Input spec')}
        testId="Pipeline__inputSpecInput"
        placeholder={INPUT_EXAMPLE}
        rows={7}
        needed
        action={<FromMounts {...context} />}
      />
      <Text {...context} field="port" label={trans.__('Port')} testId="Pipeline__inputPort" numeric />
      <label className="pach-Field">
        <span className="pach-Field-label">{trans.__('GPU mode')}</span>
        <select
          className="pach-Field-input"
          data-testid="Pipeline__gpuMode"
          value={form.gpuMode}
          onChange={event => publish.edit({ gpuMode: event.target.value as GpuMode })}
        >
          {GPU_MODES.map(mode => (
            <option key={mode} value={mode}>
              {modes[mode]}
            </option>
          ))}
        </select>
      </label>
      {form.gpuMode === 'Advanced' && (
        <Text
          {...context}
          field="resourceSpec"
          label={trans.__('Resource spec')}
          testId="Pipeline__resourceSpecInput"
          placeholder={RESOURCES_EXAMPLE}
          rows={5}
        />
      )}
    </fieldset>
  );
}

interface ITextProps extends IContext {
  field: Exclude<Field, 'gpuMode'>;
  label: string;
  testId: string;
  placeholder?: string;
  note?: string;
  needed?: boolean;
  numeric?: boolean;
  /** Rows of a field of several lines. */
  rows?: number;
  /** A button beside the label. */
  action?: JSX.Element;
}

/** A field of text with its label. */
function Text(props: ITextProps): JSX.Element {
  const { publish, field, label, testId, placeholder, note, needed, numeric, rows, action } = props;
  const id = fieldId(field);
  const given = {
    id,
    placeholder,
    value: publish.form[field],
    'data-testid': testId,
    'aria-required': needed,
    'aria-describedby': note && `${id}-note`,
    spellCheck: false,
    autoCapitalize: 'off',
    onChange: (event: React.ChangeEvent<HTMLInputElement | HTMLTextAreaElement>) =>
      publish.edit({ [field]: event.target.value })
  };
  return (
    <div className="pach-Field">
      <div className="pach-Publish-label">
        <label className="pach-Field-label" htmlFor={id}>
          {label}
          {needed && <span aria-hidden="true"> *</span>}
        </label>
        {action}
      </div>
      {rows ? (
        <textarea {...given} className="pach-Field-input pach-Field-code" rows={rows} wrap="off" />
      ) : (
        <input
          {...given}
          className="pach-Field-input"
          type="text"
          inputMode={numeric ? 'numeric' : undefined}
        />
      )}
      {note && (
        <span id={`${id}-note`} className="pach-Publish-note">
          {note}
        </span>
      )}
    </div>
  );
}

/** Fills the input spec with what is mounted. */
function FromMounts({ model, publish, trans }: IContext): JSX.Element {
  useSignal(model.changed);
  const input = inputOf(model.mounts);
  return (
    <button
      type="button"
      className="pach-LinkButton"
      data-testid="Pipeline__fromMounts"
      disabled={input === null}
      title={input === null ? trans.__('Nothing is mounted') : trans.__('Fill in what is mounted')}
      onClick={() => input && publish.edit({ inputSpec: toText(input, 'yaml') })}
    >
      {trans.__('From mounts')}
    </button>
  );
}
