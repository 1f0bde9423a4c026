import { someMount } from '../../testing/server';
import { checkSyntax, formatOf, inputOf, lineIn, toText } from '../spec';

describe('inputOf', () => {
  it('is the pfs input of a single mount, without its defaults', () => {
    expect(inputOf([someMount('images')])).toEqual({ pfs: { name: 'images', repo: 'images', glob: '/' } });
  });

  it('crosses several mounts, and names their project and branch', () => {
    const other = someMount('other_labels_dev', { project: 'other', repo: 'labels', branch: 'dev' });
    expect(inputOf([someMount('images'), other])).toEqual({
      cross: [
        { pfs: { name: 'images', repo: 'images', glob: '/' } },
        { pfs: { name: 'other_labels_dev', repo: 'labels', project: 'other', branch: 'dev', glob: '/' } }
      ]
    });
  });

  it('names the commit of a mount that has no branch', () => {
    const mount = someMount('images', { branch: '', commit: 'abc' });
    expect(inputOf([mount])).toEqual({ pfs: { name: 'images', repo: 'images', commit: 'abc', glob: '/' } });
  });

  it('is nothing without mounts', () => {
    expect(inputOf([])).toBeNull();
  });
});

describe('formats', () => {
  it('tells JSON by its bracket', () => {
    expect([formatOf(' {"pfs": {}}'), formatOf('pfs:\n'), formatOf('')]).toEqual(['json', 'yaml', 'yaml']);
  });

  it('writes YAML that a reader of YAML 1.1 understands', () => {
    expect(toText({ pfs: { repo: 'on', glob: '/*' } }, 'yaml')).toBe('pfs:\n  repo: "on"\n  glob: /*\n');
  });
});

describe('checkSyntax', () => {
  it.each([
    ['YAML', 'pfs:\n  repo: images\n'],
    ['JSON', '{"pfs": {"repo": "images"}}'],
    ['JSON with tabs', '{\n\t"pfs": {}\n}'],
    ['nothing', ''],
    ['a second document', 'pfs: {}\n---\nx: [\n']
  ])('accepts %s', (_, text) => {
    expect(checkSyntax(text)).toBeNull();
  });

  it.each([
    ['YAML', 'pfs:\n  repo: images\n glob: /\n', 3],
    ['JSON', '{\n  "pfs": {\n    "repo": "images"\n', 4]
  ])('tells the line in %s', (_, text, line) => {
    expect(checkSyntax(text)?.line).toBe(line);
  });
});

it('finds the line in a sentence of the daemon', () => {
  expect(lineIn('glob must be specified — cross[1].pfs, line 5')).toBe(5);
  expect(lineIn('repo a not found')).toBeNull();
});
