import { Notification } from '@jupyterlab/apputils';
import { waitFor } from '@testing-library/dom';

import type { IContext } from '../../context';
import { DocumentReloader } from '../reloading';
import { contextOf, entryOf, failure, FakeServer, mountOf, stateOf, type FakeModel } from './fakes';

/** A document that is open, as far as the reloader looks at it. */
function documentOf(path: string, dirty = false) {
  return {
    path,
    ready: Promise.resolve(),
    isDisposed: false,
    model: { dirty },
    contentsModel: entryOf('images/a.txt'),
    revert: jest.fn(async () => undefined)
  };
}

describe('DocumentReloader', () => {
  let server: FakeServer;
  let context: IContext;
  let model: FakeModel;
  let documents: ReturnType<typeof documentOf>[];
  let reloader: DocumentReloader;

  beforeEach(() => {
    server = new FakeServer();
    server.directories.set('images', [{ ...entryOf('images/a.txt'), size: 99 }]);
    ({ context, model } = contextOf(stateOf([mountOf('images'), mountOf('other')])));
    documents = [];
    reloader = new DocumentReloader({ ...context, openDocuments: () => documents as never });
  });

  afterEach(() => {
    reloader.dispose();
    Notification.dismiss();
    jest.restoreAllMocks();
  });

  const move = () => model.become(stateOf([mountOf('images', { commit: 'c2' }), mountOf('other')]));

  it('reloads what a mount shows after it moved, and only that', async () => {
    documents = ['pfs:images/a.txt', 'pfs:other/a.txt', 'images/a.txt'].map(path => documentOf(path));
    move();
    await waitFor(() => expect(documents[0].revert).toHaveBeenCalled());
    expect(documents[1].revert).not.toHaveBeenCalled();
    expect(documents[2].revert).not.toHaveBeenCalled();
  });

  it('keeps changes of the user, and offers to drop them', async () => {
    documents = [documentOf('pfs:images/a.txt', true)];
    move();
    await waitFor(() => expect(Notification.manager.count).toBe(1));
    expect(documents[0].revert).not.toHaveBeenCalled();
    const [{ options }] = Notification.manager.notifications;
    options.actions![0].callback({} as MouseEvent);
    expect(documents[0].revert).toHaveBeenCalled();
  });

  it('leaves open what is gone, and tells so', async () => {
    documents = [documentOf('pfs:images/a.txt')];
    server.intercept = () => failure(404, 'images/a.txt not found');
    move();
    await waitFor(() => expect(Notification.manager.count).toBe(1));
    expect(Notification.manager.notifications[0].message).toContain('images/a.txt is gone');
    expect(documents[0].revert).not.toHaveBeenCalled();
  });

  it('sees that a mount moved while the daemon was away', async () => {
    documents = [documentOf('pfs:images/a.txt')];
    model.become(stateOf([], { daemon: 'unreachable', status: null }));
    move();
    await waitFor(() => expect(documents[0].revert).toHaveBeenCalled());
  });
});
