import { nullTranslator } from '@jupyterlab/translation';

import type { IRepo } from '../../api';
import { someMount } from '../../testing/server';
import {
  defaultBranch,
  defaultMountName,
  isWritable,
  mountOf,
  nameProblem,
  repoKey,
  shownRepos,
  sortedBranches
} from '../repos';

const trans = nullTranslator.load('pachmount-lab');

function someRepo(name: string, more: Partial<IRepo> = {}): IRepo {
  return { project: 'default', repo: name, branches: ['master'], authorization: 'off', ...more };
}

describe('shownRepos', () => {
  const repos = [
    someRepo('run10'),
    someRepo('run2'),
    someRepo('images', { project: 'photos' }),
    someRepo('Run1')
  ];
  const keys = (project: string, search: string, isDescending = false) =>
    shownRepos(repos, project, search, isDescending).map(repoKey);

  it('sorts as people count', () => {
    expect(keys('', '')).toEqual(['default/Run1', 'default/run2', 'default/run10', 'photos/images']);
    expect(keys('', '', true)[0]).toBe('photos/images');
  });

  it('filters by project, and by every word in any case', () => {
    expect(keys('photos', '')).toEqual(['photos/images']);
    expect(keys('', 'RUN 1')).toEqual(['default/Run1', 'default/run10']);
    expect(keys('photos', 'run')).toEqual([]);
  });
});

it('offers master, or else the first branch', () => {
  const branches = sortedBranches(someRepo('a', { branches: ['v10', 'v2', 'dev'] }));
  expect(branches).toEqual(['dev', 'v2', 'v10']);
  expect(defaultBranch(branches)).toBe('dev');
  expect(defaultBranch(['dev', 'master'])).toBe('master');
  expect(defaultBranch(sortedBranches(someRepo('a', { branches: null })))).toBe('');
});

it('names mounts as the original does', () => {
  const repo = someRepo('images', { project: 'photos' });
  expect(defaultMountName(repo, 'master')).toBe('photos_images');
  expect(defaultMountName(repo, 'dev')).toBe('photos_images_dev');
  expect(defaultMountName(repo, 'a/b')).toBe('photos_images_a_b');
  expect(defaultMountName(repo, 'master', '29e4fdb4e9fc4afaa3d2c11c7e5d4a3f')).toBe('photos_images_29e4fdb4');
});

describe('mountOf', () => {
  it('compares project, repo and branch, not a text made of them', () => {
    const mounts = [someMount('x', { project: 'a_b', repo: 'c' })];
    expect(mountOf(mounts, someRepo('b_c', { project: 'a' }), 'master')).toBeUndefined();
    expect(mountOf(mounts, someRepo('c', { project: 'a_b' }), 'master')?.name).toBe('x');
    expect(mountOf(mounts, someRepo('c', { project: 'a_b' }), 'dev')).toBeUndefined();
  });

  it('takes a mount of one directory for another thing', () => {
    expect(mountOf([someMount('images', { path: '/2024' })], someRepo('images'), 'master')).toBeUndefined();
  });

  it('takes a mount of another commit for another thing', () => {
    const mounts = [someMount('images', { commit: 'aaa' })];
    expect(mountOf(mounts, someRepo('images'), 'master', 'bbb')).toBeUndefined();
    expect(mountOf(mounts, someRepo('images'), 'master', 'aaa')?.name).toBe('images');
  });
});

it('tells what is wrong with a name', () => {
  const problem = (name: string) => nameProblem(trans, name, [someMount('images')]);
  expect(problem('good.name-1')).toBe('');
  for (const name of ['', '-a', 'a b', 'a/b', '..', 'out', 'images', 'x'.repeat(256)]) {
    expect(problem(name)).not.toBe('');
  }
});

it('offers read-write where the cluster lets one write', () => {
  const may = (authorization: IRepo['authorization']) => isWritable(someRepo('a', { authorization }));
  expect([may('off'), may('write'), may('read'), may('none')]).toEqual([true, true, false, false]);
});
