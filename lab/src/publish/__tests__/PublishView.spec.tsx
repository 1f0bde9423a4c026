import '@testing-library/jest-dom';
import React from 'react';
import { act, cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';

import type { IJob, IPipeline } from '../../api';
import type { IContext } from '../../context';
import { someContext } from '../../testing/context';
import { SomeNotebook, SomeNotebooks } from '../../testing/notebooks';
import {
  failed,
  FakeServer,
  someCluster,
  someMount,
  someState,
  someStatus,
  type Answer
} from '../../testing/server';
import { metadataOf, formOf } from '../form';
import { PublishModel } from '../model';
import { PublishView } from '../PublishView';

const CONTENTS = {
  driveName: (path: string) => (path.includes(':') ? path.split(':')[0] : ''),
  localPath: (path: string) => path.split(':').pop() ?? ''
};
const FORM = { ...formOf(undefined, 'python:3.10'), name: 'edges', inputSpec: 'pfs: {repo: images}' };
const PUBLISHED = metadataOf(FORM);

let notebooks: SomeNotebooks;
let server: FakeServer;
let status = someStatus();
let publish: PublishModel;

beforeEach(() => {
  status = someStatus();
});

afterEach(() => {
  cleanup();
  publish.dispose();
  jest.restoreAllMocks();
});

async function show(notebook: SomeNotebook | null, answers: Record<string, Answer> = {}): Promise<IContext> {
  server = new FakeServer({
    'GET state': () => someState({ status }),
    'GET repos': () => [],
    'GET projects': () => [],
    'GET pps/_pipelines': () => [],
    ...answers
  });
  notebooks = new SomeNotebooks();
  notebooks.currentWidget = notebook?.panel ?? null;
  publish = new PublishModel(notebooks.tracker, CONTENTS);
  publish.defaultImage = 'python:3.10';
  const context = { ...someContext(), publish };
  render(<PublishView {...context} />);
  await act(() => context.model.refreshState());
  return context;
}

const field = (id: string) => screen.getByTestId(`Pipeline__${id}`);
const run = () => field('create_pipeline');

describe('the notebook', () => {
  it('is asked for where there is none', async () => {
    await show(null);
    expect(field('currentNotebookValue')).toHaveTextContent('None');
    expect(screen.getByText('Open a notebook to make a pipeline of it.')).toBeInTheDocument();
    expect(screen.queryByTestId('Pipeline__create_pipeline')).toBeNull();
  });

  it('is shown, and is not touched by being shown', async () => {
    const notebook = new SomeNotebook('work/edges.ipynb');
    await show(notebook);
    await userEvent.click(field('inputPipelineName'));
    await userEvent.tab();
    act(() => notebooks.use(null));
    act(() => notebooks.use(notebook));
    expect(field('currentNotebookValue')).toHaveTextContent('edges.ipynb');
    expect(field('currentNotebookValue')).toHaveAttribute('title', 'work/edges.ipynb');
    expect(field('inputImageName')).toHaveValue('python:3.10');
    expect(notebook.metadata).toBeUndefined();
    expect(notebook.model.dirty).toBe(false);
  });

  it('shows its own form, and no edit gets into another one', async () => {
    const first = new SomeNotebook('first.ipynb');
    const second = new SomeNotebook('second.ipynb', metadataOf({ ...FORM, name: 'second', image: '' }));
    await show(first);
    await userEvent.type(field('inputPipelineName'), 'one');
    act(() => notebooks.use(second));
    expect(field('inputPipelineName')).toHaveValue('second');
    expect(field('inputImageName')).toHaveValue('');
    expect(second.model.dirty).toBe(false);
    act(() => notebooks.use(first));
    expect(field('inputPipelineName')).toHaveValue('one');
    expect(first.metadata).toMatchObject({ version: 'v1.0.0', config: { pipeline: { name: 'one' } } });
  });

  it('shows what the file says once it was read, and again when it was read anew', async () => {
    const notebook = new SomeNotebook('a.ipynb', PUBLISHED);
    notebook.isReady = false;
    await show(notebook);
    expect(field('obstacle')).toHaveTextContent('being read');
    expect(field('inputPipelineName')).toBeDisabled();
    await act(async () => notebook.load());
    expect(field('inputPipelineName')).toHaveValue('edges');
    expect(field('inputPipelineName')).toBeEnabled();
    act(() => notebook.model.setMetadata('pachyderm_pps', metadataOf({ ...FORM, name: 'other' })));
    expect(field('inputPipelineName')).toHaveValue('other');
    act(() => notebook.model.deleteMetadata('pachyderm_pps'));
    expect(field('inputPipelineName')).toHaveValue('');
  });

  it('follows a new name', async () => {
    const notebook = new SomeNotebook('a.ipynb');
    await show(notebook);
    act(() => {
      notebook.path = 'b.ipynb';
      notebook.pathChanged.emit('b.ipynb');
    });
    expect(field('currentNotebookValue')).toHaveTextContent('b.ipynb');
  });

  it.each([
    [new SomeNotebook('pfs:images/a.ipynb', PUBLISHED), 'on another drive'],
    [new SomeNotebook('a.ipynb', PUBLISHED, false), 'read-only']
  ])('cannot be published from everywhere', async (notebook, sentence) => {
    await show(notebook);
    expect(field('obstacle')).toHaveTextContent(sentence);
    expect(field('inputPipelineName')).toBeDisabled();
    await userEvent.click(run());
    expect(notebook.saves).toEqual([]);
    expect(server.sent('PUT')).toEqual([]);
  });

  it('of jupyter-collaboration is a file of Jupyter', async () => {
    await show(new SomeNotebook('RTC:work/a.ipynb', PUBLISHED), {
      'PUT pps/_create/work/a.ipynb': () => ({ message: 'done' })
    });
    await userEvent.click(run());
    expect(await screen.findByText('done')).toBeInTheDocument();
  });
});

describe('the fields', () => {
  it('go to the metadata as they are edited, with the image that was shown', async () => {
    const notebook = new SomeNotebook('a.ipynb');
    await show(notebook);
    await userEvent.type(field('inputPipelineName'), 'edges');
    await userEvent.type(field('inputPipelineProjectName'), 'vision');
    await userEvent.type(field('inputRequirements'), 'requirements.txt');
    await userEvent.type(field('inputExternalFiles'), 'a.py,b.py');
    await userEvent.click(field('inputSpecInput'));
    await userEvent.paste('pfs:\n  repo: images\n  glob: /*\n');
    await userEvent.type(field('inputPort'), '8080');
    expect(screen.queryByTestId('Pipeline__resourceSpecInput')).toBeNull();
    fireEvent.change(field('gpuMode'), { target: { value: 'Advanced' } });
    await userEvent.type(field('resourceSpecInput'), 'cpu: 2');
    expect(notebook.metadata).toEqual({
      version: 'v1.0.0',
      config: {
        pipeline: { name: 'edges', project: { name: 'vision' } },
        image: 'python:3.10',
        requirements: 'requirements.txt',
        external_files: 'a.py,b.py',
        input_spec: 'pfs:\n  repo: images\n  glob: /*\n',
        port: '8080',
        gpu_mode: 'Advanced',
        resource_spec: 'cpu: 2'
      }
    });
    expect(field('specPreview')).toHaveValue(
      'pipeline:\n  name: edges\n  project:\n    name: vision\ntransform:\n  image: python:3.10\n' +
        'service:\n  internal_port: 8080\n  external_port: 8080\n  type: LoadBalancer\n' +
        'resource_limits:\n  cpu: 2\ninput:\n  pfs:\n    repo: images\n    glob: /*\n'
    );
  });

  it('take another default image, unless the notebook names one', async () => {
    await show(new SomeNotebook('a.ipynb'));
    act(() => {
      publish.defaultImage = 'python:3.13';
    });
    expect(field('inputImageName')).toHaveValue('python:3.13');
    act(() => notebooks.use(new SomeNotebook('b.ipynb', PUBLISHED)));
    expect(field('inputImageName')).toHaveValue('python:3.10');
  });

  it('can be filled with what is mounted', async () => {
    status = someStatus({ mounts: [someMount('images'), someMount('labels', { project: 'vision' })] });
    await show(new SomeNotebook('a.ipynb'));
    await userEvent.click(field('fromMounts'));
    expect(field('inputSpecInput')).toHaveValue(
      'cross:\n  - pfs:\n      name: images\n      repo: images\n      glob: /\n' +
        '  - pfs:\n      name: labels\n      repo: labels\n      project: vision\n      glob: /\n'
    );
  });

  it('cannot be filled with nothing', async () => {
    await show(new SomeNotebook('a.ipynb'));
    expect(field('fromMounts')).toBeDisabled();
  });
});

describe('Run', () => {
  it('saves the notebook with the form, and sends when that was', async () => {
    const notebook = new SomeNotebook('my work/é.ipynb', { config: { pipeline: { name: 'edges' } } });
    const route = `pps/_create/my%20work/${encodeURIComponent('é')}.ipynb`;
    await show(notebook, { [`PUT ${route}`]: () => ({ message: 'Create pipeline request sent.' }) });
    await userEvent.type(field('inputSpecInput'), 'pfs: x');
    await userEvent.click(run());
    expect(await screen.findByTestId('Pipeline__responseMessage')).toHaveTextContent('request sent');
    expect(notebook.saves).toEqual([metadataOf({ ...FORM, inputSpec: 'pfs: x' })]);
    expect(server.sent('PUT')).toEqual([`${route} {"last_modified_time":"2026-11-28T10:00:05.123456Z"}`]);
  });

  it('saves the image of the settings, too', async () => {
    const config = { pipeline: { name: 'edges' }, input_spec: 'pfs: x' };
    const notebook = new SomeNotebook('a.ipynb', { version: 'v1.0.0', config });
    await show(notebook, { 'PUT pps/_create/a.ipynb': () => ({ message: 'sent' }) });
    await userEvent.click(run());
    await screen.findByText('sent');
    expect(notebook.saves).toMatchObject([{ config: { image: 'python:3.10' } }]);
  });

  it('tells what is missing, and goes there', async () => {
    const notebook = new SomeNotebook('a.ipynb');
    await show(notebook);
    expect(field('missing')).toHaveTextContent('Still needed: Name, Input spec');
    await userEvent.click(run());
    expect(field('inputPipelineName')).toHaveFocus();
    expect(notebook.saves).toEqual([]);
    expect(server.sent('PUT')).toEqual([]);
  });

  it("tells the daemon's sentence", async () => {
    await show(new SomeNotebook('a.ipynb', PUBLISHED), {
      'PUT pps/_create/a.ipynb': () =>
        failed(400, 'repo default/x not found', 'it was deleted', 'pachmount list')
    });
    await userEvent.click(run());
    expect(await screen.findByTestId('Pipeline__errorMessage')).toHaveTextContent(
      'Error creating pipeline: repo default/x not found — it was deleted' + 'Hint: pachmount list'
    );
  });

  it('tells that the notebook could not be saved, and sends nothing', async () => {
    const notebook = new SomeNotebook('a.ipynb', PUBLISHED);
    notebook.refusal = new Error('Permission denied');
    await show(notebook);
    await userEvent.click(run());
    expect(await screen.findByTestId('Pipeline__errorMessage')).toHaveTextContent(
      'Error creating pipeline: the notebook could not be saved — Permission denied'
    );
    expect(server.sent('PUT')).toEqual([]);
  });

  it('ends in the notebook where it began', async () => {
    let answer: (value: unknown) => void = () => undefined;
    const first = new SomeNotebook('a.ipynb', PUBLISHED);
    await show(first, { 'PUT pps/_create/a.ipynb': () => new Promise(resolve => (answer = resolve)) });
    await userEvent.click(run());
    expect(run()).toHaveTextContent('Publishing…');
    await userEvent.click(run());
    act(() => notebooks.use(new SomeNotebook('b.ipynb', PUBLISHED)));
    expect(run()).toHaveTextContent('Run');
    await act(async () => answer({ message: 'sent' }));
    expect(screen.queryByText('sent')).toBeNull();
    act(() => notebooks.use(first));
    expect(screen.getByText('sent')).toBeInTheDocument();
    expect(server.sent('PUT')).toHaveLength(1);
  });

  it('needs a cluster, and the form does not', async () => {
    status = someStatus({ cluster: someCluster({ embedded: true }) });
    const { shown } = await show(new SomeNotebook('a.ipynb', PUBLISHED));
    expect(field('needsCluster')).toHaveTextContent('needs a cluster');
    await userEvent.type(field('inputPipelineName'), '2');
    expect(field('specPreview')).toHaveDisplayValue(/name: edges2/);
    await userEvent.click(run());
    expect(server.sent('PUT')).toEqual([]);
    await userEvent.click(screen.getByRole('button', { name: 'Choose a cluster in Settings' }));
    expect(shown.view).toBe('settings');
  });

  it('tells so of a cluster without pipelines, too', async () => {
    const body = JSON.stringify({
      id: 'needs-cluster',
      error: 'publishing needs a cluster',
      why: '',
      hint: ''
    });
    await show(new SomeNotebook('a.ipynb', PUBLISHED), {
      'PUT pps/_create/a.ipynb': () => new Response(body, { status: 501 })
    });
    await userEvent.click(run());
    expect(await screen.findByTestId('Pipeline__needsCluster')).toHaveTextContent('this one does not');
  });
});

describe('the state of the pipeline', () => {
  const JOB: IJob = {
    id: '1',
    state: 'running',
    reason: '',
    started: 1,
    finished: null,
    done: 2,
    failed: 1,
    total: 5
  };
  const PIPELINE: IPipeline = {
    project: 'default',
    name: 'edges',
    version: 1,
    state: 'starting',
    reason: '',
    created: 1,
    last_job: null
  };
  let pipeline: IPipeline;
  let isOnPage: boolean;

  beforeEach(() => {
    pipeline = PIPELINE;
    isOnPage = true;
    jest
      .spyOn(Element.prototype, 'getClientRects')
      .mockImplementation(() => (isOnPage ? [{}] : []) as unknown as DOMRectList);
    jest.useFakeTimers({ advanceTimers: true });
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  async function publishIt(): Promise<void> {
    await show(new SomeNotebook('a.ipynb', PUBLISHED), {
      'PUT pps/_create/a.ipynb': () => ({ message: 'sent' }),
      'GET pps/_pipelines': () => [pipeline]
    });
    await act(() => publish.run());
  }

  const looks = () => server.requests.filter(({ route }) => route.startsWith('pps/_pipelines')).length;
  const pass = (milliseconds: number) => act(() => jest.advanceTimersByTimeAsync(milliseconds));

  it('is asked for until the job has ended', async () => {
    await publishIt();
    await waitFor(() => expect(field('pipelineState')).toHaveTextContent('starting'));
    expect(field('jobState')).toHaveTextContent('none yet');
    expect(server.requests[server.requests.length - 1].route).toBe('pps/_pipelines?name=edges');
    pipeline = { ...PIPELINE, state: 'running', last_job: JOB };
    await pass(3500);
    expect(field('jobState')).toHaveTextContent('running2 of 5 datums done1 datum failed');
    pipeline = { ...pipeline, last_job: { ...JOB, state: 'failure', reason: 'datum 3 failed' } };
    await pass(3500);
    expect(field('jobState')).toHaveTextContent('failuredatum 3 failed');
    const asked = looks();
    await pass(20000);
    expect(looks()).toBe(asked);
  });

  it('is not asked for while nobody can see it', async () => {
    await publishIt();
    await waitFor(() => expect(field('pipelineState')).toHaveTextContent('starting'));
    isOnPage = false;
    await pass(3500);
    const asked = looks();
    await pass(20000);
    expect(looks()).toBe(asked);
    isOnPage = true;
    await pass(3500);
    expect(looks()).toBeGreaterThan(asked);
    cleanup();
    const atTheEnd = looks();
    await pass(20000);
    expect(looks()).toBe(atTheEnd);
  });

  it('tells why it is not known, and goes on', async () => {
    await publishIt();
    server.answers['GET pps/_pipelines'] = () => failed(503, 'the cluster does not answer');
    await pass(3500);
    expect(field('stateError')).toHaveTextContent('the cluster does not answer');
    server.answers['GET pps/_pipelines'] = () => [PIPELINE];
    await pass(40000);
    expect(screen.queryByTestId('Pipeline__stateError')).toBeNull();
  });
});
