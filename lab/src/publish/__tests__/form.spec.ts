import { formOf, metadataOf, missingFields, previewOf, type IForm } from '../form';

const FORM: IForm = {
  name: 'edges',
  project: 'vision',
  image: 'python:3.12',
  requirements: 'requirements.txt',
  externalFiles: 'a.py, b.py',
  inputSpec: 'pfs:\n  repo: images\n  glob: /*\n',
  port: '8080',
  gpuMode: 'Advanced',
  resourceSpec: 'cpu: 2\n'
};

describe('the metadata of a notebook', () => {
  it('are those of the original', () => {
    expect(metadataOf(FORM)).toEqual({
      version: 'v1.0.0',
      config: {
        pipeline: { name: 'edges', project: { name: 'vision' } },
        image: 'python:3.12',
        requirements: 'requirements.txt',
        external_files: 'a.py, b.py',
        input_spec: 'pfs:\n  repo: images\n  glob: /*\n',
        port: '8080',
        gpu_mode: 'Advanced',
        resource_spec: 'cpu: 2\n'
      }
    });
  });

  it('come back as the same form', () => {
    expect(formOf(metadataOf(FORM), 'other')).toEqual(FORM);
    const empty = formOf(undefined, '');
    expect(formOf(metadataOf(empty), 'other')).toEqual(empty);
  });

  it('of 2.6 have no port, and null for what is not given', () => {
    const form = formOf(
      {
        version: 'v1.0.0',
        config: {
          pipeline: { name: 'edges' },
          image: 'python:3.8',
          requirements: null,
          input_spec: 'pfs: {}'
        }
      },
      'python:3.10'
    );
    expect(form).toMatchObject({
      name: 'edges',
      project: '',
      image: 'python:3.8',
      requirements: '',
      port: '',
      gpuMode: 'None'
    });
  });

  it.each([
    undefined,
    null,
    'x',
    [],
    { config: [] },
    { config: { pipeline: 3, port: {}, gpu_mode: 'Huge' } }
  ])('may make no sense: %j', metadata => {
    expect(formOf(metadata, 'python:3.10')).toEqual({ ...formOf(undefined, 'python:3.10') });
  });

  it('may have a port as a number', () => {
    expect(formOf({ config: { port: 80 } }, '').port).toBe('80');
  });
});

it('tells what is missing', () => {
  expect(missingFields(FORM)).toEqual([]);
  expect(missingFields({ ...FORM, name: ' ', inputSpec: '\n', project: '' })).toEqual(['name', 'inputSpec']);
});

describe('the preview', () => {
  it('has name, image and input', () => {
    const form = { ...FORM, project: '', port: '', gpuMode: 'None' as const };
    expect(previewOf(form)).toBe(
      'pipeline:\n  name: edges\ntransform:\n  image: python:3.12\ninput:\n  pfs:\n    repo: images\n    glob: /*\n'
    );
  });

  it('has project, port and resources if they are given', () => {
    expect(previewOf(FORM)).toBe(
      'pipeline:\n  name: edges\n  project:\n    name: vision\ntransform:\n  image: python:3.12\n' +
        'service:\n  internal_port: 8080\n  external_port: 8080\n  type: LoadBalancer\n' +
        'resource_limits:\n  cpu: 2\ninput:\n  pfs:\n    repo: images\n    glob: /*\n'
    );
    expect(previewOf({ ...FORM, gpuMode: 'Simple' })).toContain('    type: nvidia.com/gpu\n    number: 1\n');
  });
});
