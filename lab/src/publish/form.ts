/**
 * The form of a pipeline: how it is kept in the metadata of a notebook, what is missing in it, and its preview.
 *
 * The metadata are those of the original's extension, so that notebooks go back and forth.
 */
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

export const METADATA_KEY = 'pachyderm_pps';
const METADATA_VERSION = 'v1.0.0';

export const GPU_MODES = ['None', 'Simple', 'Advanced'] as const;
export type GpuMode = (typeof GPU_MODES)[number];

/** The fields as they are typed; "" for what is not given. */
export interface IForm {
  name: string;
  project: string;
  image: string;
  /** The path of a file of requirements, beside the notebook. */
  requirements: string;
  /** The names of files beside the notebook, with commas between them. */
  externalFiles: string;
  inputSpec: string;
  port: string;
  gpuMode: GpuMode;
  resourceSpec: string;
}

export type Field = keyof IForm;

/** The form for the metadata of a notebook; `image` if they name none. What they hold of another type is left out. */
export function formOf(metadata: unknown, image: string): IForm {
  const config = objectIn(metadata, 'config');
  const pipeline = objectIn(config, 'pipeline');
  const gpuMode = GPU_MODES.find(mode => mode === config.gpu_mode) ?? 'None';
  return {
    name: textIn(pipeline, 'name'),
    project: textIn(objectIn(pipeline, 'project'), 'name'),
    image: 'image' in config ? textIn(config, 'image') : image,
    requirements: textIn(config, 'requirements'),
    externalFiles: textIn(config, 'external_files'),
    inputSpec: textIn(config, 'input_spec'),
    port: textIn(config, 'port'),
    gpuMode,
    resourceSpec: textIn(config, 'resource_spec')
  };
}

/** The metadata for a form. */
export function metadataOf(form: IForm): ReadonlyPartialJSONObject {
  return {
    version: METADATA_VERSION,
    config: {
      pipeline: { name: form.name, project: { name: form.project } },
      image: form.image,
      requirements: form.requirements,
      external_files: form.externalFiles,
      input_spec: form.inputSpec,
      port: form.port,
      gpu_mode: form.gpuMode,
      resource_spec: form.resourceSpec
    }
  };
}

/** The fields without which nothing can be published, of those that are empty. */
export function missingFields(form: IForm): Field[] {
  const needed: Field[] = ['name', 'image', 'inputSpec'];
  return needed.filter(field => !form[field].trim());
}

/** What Run makes of the form, as a pipeline spec to read. */
export function previewOf(form: IForm): string {
  const lines = ['pipeline:', `  name: ${form.name}`];
  if (form.project.trim()) {
    lines.push('  project:', `    name: ${form.project}`);
  }
  lines.push('transform:', `  image: ${form.image}`);
  if (form.port.trim()) {
    lines.push('service:', `  internal_port: ${form.port}`, `  external_port: ${form.port}`);
    lines.push('  type: LoadBalancer');
  }
  if (form.gpuMode === 'Simple') {
    lines.push('resource_limits:', '  gpu:', '    type: nvidia.com/gpu', '    number: 1');
  } else if (form.gpuMode === 'Advanced' && form.resourceSpec.trim()) {
    lines.push('resource_limits:', ...indented(form.resourceSpec));
  }
  lines.push('input:', ...indented(form.inputSpec));
  return lines.join('\n') + '\n';
}

function indented(text: string): string[] {
  const trimmed = text.replace(/\s+$/, '');
  return trimmed ? trimmed.split('\n').map(line => (line ? `  ${line}` : line)) : [];
}

function objectIn(value: unknown, key: string): Record<string, unknown> {
  const inner = isObject(value) ? value[key] : undefined;
  return isObject(inner) ? inner : {};
}

/** A text; numbers are read as texts, as somebody may have written a port by hand. */
function textIn(value: Record<string, unknown>, key: string): string {
  const inner = value[key];
  return typeof inner === 'string' ? inner : typeof inner === 'number' ? String(inner) : '';
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
