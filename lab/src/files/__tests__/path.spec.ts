import { crumbs, fileUri, isList, isThere, pathInMainBrowser, realPath } from '../path';
import { codeSnippet } from '../snippet';
import { mountOf, stateOf } from './fakes';

describe('paths', () => {
  const state = stateOf([
    mountOf('images', { path: '/train' }),
    mountOf('pinned', { branch: '', commit: 'c7' }),
    mountOf('apart', { mountpoint: '/data/apart' })
  ]);

  it.each([
    ['images/a/b.txt', '/home/ada/pfs/images/a/b.txt'],
    ['apart/a', '/data/apart/a'],
    ['@/default/images/master/a', ''],
    ['', '']
  ])('of notebook code: %s', (path, real) => expect(realPath(state, path)).toBe(real));

  it('of notebook code do not exist without FUSE', () => {
    const without = { ...state, fuse: { available: false, reason: 'no /dev/fuse' } };
    expect(realPath(without, 'images/a')).toBe('');
  });

  it.each([
    ['images/a.txt', 'default/images@master:/train/a.txt'],
    ['images', 'default/images@master:/train'],
    ['pinned/a', 'default/pinned@c7:/a'],
    ['@/p/r/dev/x/y', 'p/r@dev:/x/y'],
    ['@/p/r', '']
  ])('of repositories: %s', (path, uri) => expect(fileUri(state, path)).toBe(uri));

  it('that are no text are shown with their bytes, and nobody else is told of them', () => {
    expect(crumbs('images/a\uefff/\uef80').map(({ name }) => name)).toEqual(['images', 'a\\xff', '\\x80']);
    expect(realPath(state, 'images/a\uefff')).toBe('');
    expect(fileUri(state, 'images/a\uefff')).toBe('');
  });

  it.each(['', '@', '@/p', '@/p/r'])('of lists are those of no directory: "%s"', path =>
    expect(isList(path)).toBe(true)
  );

  it.each(['images', 'images/a', '@/p/r/dev', '@/p/r/dev/a'])('of directories: %s', path =>
    expect(isList(path)).toBe(false)
  );

  it('in the default drive exist only below the root of the server', () => {
    expect(pathInMainBrowser(state, 'images/a')).toBeNull();
    const below = { ...state, contents: { root: 'pfs' } };
    expect(pathInMainBrowser(below, 'images/a')).toBe('pfs/images/a');
    expect(pathInMainBrowser(below, 'apart/a')).toBeNull();
    expect(pathInMainBrowser({ ...below, contents: { root: '' } }, 'images/a')).toBe('images/a');
  });

  it('are valid with their mount, and while nothing is known of mounts', () => {
    expect(['images/x', '', '@/p/r/b', 'gone/x', 'out/x'].map(path => isThere(state, path))).toEqual([
      true,
      true,
      true,
      false,
      false
    ]);
    expect(isThere({ ...state, status: null }, 'gone/x')).toBe(true);
  });

  it('of a datum are its inputs and out', () => {
    const datum = { id: 'd', files: [{ input: 'in', project: 'p', repo: 'r', commit: 'c' }] };
    const datums = { ...state, status: { ...state.status!, mounts: [], datum: datum as never } };
    expect(['in/a', 'out/a', 'images'].map(path => isThere(datums, path))).toEqual([true, true, false]);
    expect(realPath(datums, 'in/a')).toBe('/home/ada/pfs/in/a');
    expect(fileUri(datums, 'in/a')).toBe('p/r@c:/a');
  });
});

describe('codeSnippet', () => {
  it('reads a file by its kind', () => {
    expect(codeSnippet('/pfs/a/b.CSV', false)).toContain('pd.read_csv("/pfs/a/b.CSV")');
    expect(codeSnippet('/pfs/a/b.txt', false)).toContain('with open("/pfs/a/b.txt") as file');
    expect(codeSnippet('/pfs/a/constructor', false)).toContain('open("/pfs/a/constructor", "rb")');
    expect(codeSnippet('/pfs/a', true)).toContain('Path("/pfs/a").iterdir()');
  });

  it('quotes names', () => {
    expect(codeSnippet('/pfs/a"b\\c.bin', false)).toContain('open("/pfs/a\\"b\\\\c.bin", "rb")');
  });
});
