import { ContentsManager } from '@jupyterlab/services';

import { RequestError } from '../../api';
import { PfsDrive } from '../drive';
import { failure, FakeServer } from './fakes';

describe('PfsDrive', () => {
  let server: FakeServer;
  let contents: ContentsManager;
  let changes: string[];

  beforeEach(() => {
    server = new FakeServer();
    contents = new ContentsManager();
    contents.addDrive(new PfsDrive());
    changes = [];
    contents.fileChanged.connect((_, { type, oldValue, newValue }) => {
      changes.push(`${type} ${oldValue?.path ?? ''} ${newValue?.path ?? ''}`);
    });
  });

  afterEach(() => jest.restoreAllMocks());

  it('opens files whose names need escaping', async () => {
    server.add('images', ['50% #1?.txt']);
    const model = await contents.get('pfs:images/50% #1?.txt');
    expect([model.path, model.writable]).toEqual(['pfs:images/50% #1?.txt', false]);
  });

  it('asks for no content where none is needed', async () => {
    server.add('images', ['a']);
    await contents.get('pfs:images/a', { content: false });
    expect(server.requests[0].query.get('content')).toBe('0');
  });

  it('puts the pages of a directory together', async () => {
    server.add(
      'big',
      Array.from({ length: 2500 }, (_, i) => `f${i}`)
    );
    const model = await contents.get('pfs:big');
    expect([model.content.length, model.content[2499].path]).toEqual([2500, 'pfs:big/f2499']);
  });

  it("throws the daemon's sentence with its status, as documents want it", async () => {
    server.intercept = () => failure(413, 'big.bin has 60 MiB', 'download it');
    const error: RequestError = await contents.get('pfs:images/big.bin').catch(e => e);
    expect([error.message, error.hint, error.response?.status]).toEqual([
      'big.bin has 60 MiB',
      'download it',
      413
    ]);
  });

  it('saves, and tells of it', async () => {
    await contents.save('pfs:out/a.txt', { type: 'file', format: 'text', content: 'x' });
    expect(server.requests[0]).toMatchObject({
      method: 'PUT',
      path: 'out/a.txt',
      body: { type: 'file', format: 'text', content: 'x' }
    });
    expect(changes).toEqual(['save  pfs:out/a.txt']);
  });

  it('tells of a file in chunks once', async () => {
    for (const chunk of [1, 2, -1]) {
      await contents.save('pfs:out/a', { type: 'file', format: 'base64', content: '', chunk });
    }
    expect(changes).toHaveLength(1);
  });

  it('renames and deletes, and tells of it', async () => {
    await contents.rename('pfs:out/a', 'pfs:out/b');
    await contents.delete('pfs:out/b');
    expect(server.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'PATCH out/a',
      'DELETE out/b'
    ]);
    expect(changes).toEqual(['rename pfs:out/a pfs:out/b', 'delete pfs:out/b ']);
  });

  it('copies under a name that is free', async () => {
    server.add('out', ['a.tar.gz', 'a.tar-Copy1.gz']);
    const model = await contents.copy('pfs:out/a.tar.gz', 'pfs:out');
    expect(model.path).toBe('pfs:out/a.tar-Copy2.gz');
  });

  it('has no checkpoints, and does not stop documents that ask for them', async () => {
    expect(await contents.listCheckpoints('pfs:out/a')).toEqual([]);
    await expect(contents.createCheckpoint('pfs:out/a')).resolves.toBeDefined();
    await expect(contents.restoreCheckpoint('pfs:out/a', 'x')).rejects.toThrow('no checkpoints');
  });

  it('offers downloads', async () => {
    expect(await contents.getDownloadUrl('pfs:images/a b.txt')).toMatch(
      /\/pachyderm\/v2\/download\/images\/a%20b.txt$/
    );
  });
});
