import type { IDatumStatus } from '../../api';
import { ViewModel } from '../../context';
import type { MountModel } from '../../model';
import { someModel } from '../../testing/context';
import {
  failed,
  FakeServer,
  someDatum,
  someMount,
  someState,
  someStatus,
  type Answer
} from '../../testing/server';
import { resumeDatums } from '../resume';

let datum: IDatumStatus | null;
let mounts = [someMount('images')];
let server: FakeServer;

function begin(answers: Record<string, Answer> = {}): MountModel {
  server = new FakeServer({
    'GET state': () => someState({ status: someStatus({ mounts, datum }) }),
    'GET repos': () => [],
    'GET projects': () => [],
    'PUT datums/_mount': () => (datum = someDatum()),
    'PUT _show_datum': ({ route }) => (datum = someDatum({ idx: Number(/idx=(\d+)/.exec(route)?.[1] ?? 0) })),
    'PUT datums/_unmount': () => ({ num_datums: (datum = null) }),
    ...answers
  });
  return someModel();
}

beforeEach(() => {
  localStorage.clear();
  datum = null;
  mounts = [someMount('images')];
});

afterEach(() => jest.restoreAllMocks());

describe('the spec', () => {
  it('is that of the mounts until something is typed, and follows them', async () => {
    const model = begin();
    await model.refreshState();
    expect(model.datums.text).toBe('pfs:\n  name: images\n  repo: images\n  glob: /\n');
    mounts = [...mounts, someMount('labels')];
    await model.refreshState();
    expect(model.datums.text).toMatch(/^cross:/);
  });

  it('is remembered as it was typed, also if it is wrong', async () => {
    const model = begin();
    model.datums.text = '{"pfs": ';
    expect(someModel().datums.text).toBe('{"pfs": ');
  });

  it('goes back to that of the mounts in the format of the text', async () => {
    const model = begin();
    await model.refreshState();
    model.datums.text = '{}';
    model.datums.reset();
    expect(JSON.parse(model.datums.text)).toEqual({ pfs: { name: 'images', repo: 'images', glob: '/' } });
  });

  it('is sent as it is, and stays while its datums are shown', async () => {
    const model = begin();
    await model.refreshState();
    const text = model.datums.text;
    expect(await model.datums.load()).toBe(true);
    expect(server.sent('PUT')).toEqual([`datums/_mount ${text}`.trim()]);
    expect(model.datums.text).toBe(text);
    expect(someModel().datums.isEdited).toBe(false);
  });

  it('is that of the datum which somebody else chose', async () => {
    datum = someDatum();
    const model = begin();
    await model.refreshState();
    expect(model.datums.text).toMatch(/glob: \/\*/);
  });
});

describe('stepping', () => {
  it('goes on, and stops at the ends without a request', async () => {
    datum = someDatum({ idx: 4 });
    const model = begin();
    await model.refreshState();
    expect(await model.datums.next()).toBe(true);
    expect(model.datums.position?.idx).toBe(5);
    expect(await model.datums.next()).toBe(false);
    expect(model.datums.end).toBe('last');
    expect(server.sent('PUT')).toEqual(['_show_datum?idx=5']);
  });

  it('goes as far as it was asked to while a step was under way', async () => {
    datum = someDatum();
    const model = begin();
    await model.refreshState();
    await Promise.all([1, 2, 3, 4].map(() => model.datums.next()));
    expect(model.datums.position?.idx).toBe(4);
    expect(server.sent('PUT')).toEqual(['_show_datum?idx=1', '_show_datum?idx=4']);
  });

  it('asks the daemon at the end of what is known so far', async () => {
    datum = someDatum({ idx: 5, all_datums_received: false });
    const model = begin({
      'PUT datums/_next': () => failed(409, 'the next datum is not known yet', 'the datums are being listed')
    });
    await model.refreshState();
    expect(await model.datums.next()).toBe(false);
    expect(model.datums.stepError?.message).toMatch(/not known yet — the datums are being listed/);
  });

  it('shows by number or by id', async () => {
    const model = begin();
    datum = someDatum();
    await model.refreshState();
    await model.datums.show('3');
    await model.datums.show('1'.repeat(64));
    expect(server.sent('PUT')).toEqual(['_show_datum?idx=2', `_show_datum?id=${'1'.repeat(64)}`]);
  });

  it('does one thing at a time', async () => {
    const model = begin();
    const [first, second] = await Promise.all([model.datums.load(), model.datums.load()]);
    expect([first, second]).toEqual([true, false]);
    expect(server.sent('PUT')).toHaveLength(1);
  });
});

describe('resumeDatums', () => {
  it('begins with the Test view if a datum is shown, once', async () => {
    datum = someDatum();
    const model = begin();
    const shown = new ViewModel();
    resumeDatums({ model, shown });
    await model.refreshState();
    expect(shown.view).toBe('test');
    shown.view = 'explore';
    datum = someDatum({ idx: 1 });
    await model.refreshState();
    expect(shown.view).toBe('explore');
  });

  it('takes nobody anywhere when datums are loaded later', async () => {
    const model = begin();
    const shown = new ViewModel();
    resumeDatums({ model, shown });
    await model.refreshState();
    datum = someDatum();
    await model.refreshState();
    expect(shown.view).toBe('explore');
  });
});
