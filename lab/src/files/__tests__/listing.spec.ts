import type { IDirectoryPage } from '../../api';
import { Listing, MAX_PAGE, PAGE } from '../listing';
import { entryOf, failure, FakeServer } from './fakes';

const names = (count: number) => Array.from({ length: count }, (_, index) => `f${index}`);

describe('Listing', () => {
  let server: FakeServer;
  let listing: Listing;

  beforeEach(() => {
    server = new FakeServer();
    server.add('big', names(3500));
    listing = new Listing();
  });

  afterEach(() => {
    listing.dispose();
    jest.restoreAllMocks();
  });

  it('fetches one page, and knows how many entries there are', async () => {
    await listing.show('big');
    expect([listing.entries.length, listing.rowCount, server.requests.length]).toEqual([PAGE, 3500, 1]);
  });

  it('fetches pages up to the row that is looked at', async () => {
    await listing.show('big');
    listing.need(2500);
    await settled(listing);
    expect([listing.entries.length, server.requests.map(request => request.query.get('after'))]).toEqual([
      3000,
      [null, 'f999']
    ]);
  });

  it('reaches a row that is far behind in few requests', async () => {
    server.add('huge', names(100_000));
    await listing.show('huge');
    listing.need(99_999);
    await settled(listing);
    const numbers = server.requests.map(request => Number(request.query.get('number')));
    expect([listing.entries.length, numbers]).toEqual([
      100_000,
      [PAGE, ...Array(9).fill(MAX_PAGE), 9 * PAGE]
    ]);
  });

  it('keeps what is shown while it lists again, as far as somebody looks', async () => {
    await listing.show('big');
    listing.need(2500);
    await settled(listing);
    const lengths: number[] = [];
    listing.changed.connect(() => lengths.push(listing.entries.length));
    server.directories.get('big')!.unshift(entryOf('big/a'));
    await listing.reload();
    expect(Math.min(...lengths)).toBe(3000);
    expect(listing.entries[0].name).toBe('a');
  });

  it('is not disturbed by the late answer of an earlier filter', async () => {
    await listing.show('big');
    const answers: (() => void)[] = [];
    server.intercept = () => new Promise(resolve => answers.push(() => resolve(undefined as never)));
    const first = listing.setFilter('f1');
    const second = listing.setFilter('f34');
    expect(server.requests.slice(1).map(request => request.signal?.aborted)).toEqual([true, false]);
    answers[1]();
    await second;
    answers[0]();
    await first;
    expect(listing.entries.every(entry => entry.name.includes('f34'))).toBe(true);
    expect(listing.error).toBeNull();
  });

  it('shows a failure instead of entries, and gets over it', async () => {
    await listing.show('big');
    server.intercept = () => failure(502, 'the cluster does not answer');
    await listing.reload();
    expect([listing.error?.message, listing.loaded]).toEqual(['the cluster does not answer', false]);
    server.intercept = () => undefined;
    await listing.retry();
    expect([listing.error, listing.entries.length]).toEqual([null, PAGE]);
  });

  it('keeps its pages when a later one fails, and goes on there', async () => {
    await listing.show('big');
    server.intercept = () => failure(502, 'no');
    listing.need(1500);
    await settled(listing);
    expect([listing.error?.message, listing.entries.length]).toEqual(['no', PAGE]);
    server.intercept = () => undefined;
    await listing.retry();
    expect(listing.entries.length).toBe(2 * PAGE);
  });

  it('does without a total', async () => {
    const page: IDirectoryPage = {
      ...entryOf('d', 'directory'),
      content: [entryOf('d/a')],
      next: 'a',
      total: null
    };
    const other = new Listing(async () => page);
    await other.show('d');
    expect([other.rowCount, other.isCounted]).toEqual([1, false]);
    other.need(0);
    await settled(other);
    expect(other.rowCount).toBe(2);
  });

  it('counts what was not counted when it was listed', async () => {
    let total: number | null = null;
    server.intercept = async () => ({
      status: 200,
      body: { ...entryOf('big', 'directory'), content: [entryOf('big/f0')], next: 'f0', total }
    });
    await listing.show('big');
    await listing.count();
    expect(listing.isCounted).toBe(false);
    total = 3500;
    await listing.count();
    expect([listing.isCounted, listing.rowCount, listing.entries.length]).toEqual([true, 3500, 1]);
  });

  it('takes no number of another directory', async () => {
    server.add('other', names(2000));
    const page = (total: number | null) => ({
      status: 200,
      body: { ...entryOf('big', 'directory'), content: [entryOf('big/f0')], next: 'f0', total }
    });
    server.intercept = () => page(null);
    await listing.show('big');
    let answer = () => {};
    server.intercept = () => new Promise(resolve => (answer = () => resolve(page(3500))));
    const counted = listing.count();
    server.intercept = () => page(null);
    await listing.show('other');
    answer();
    await counted;
    expect(listing.isCounted).toBe(false);
  });
});

/** Wait until nothing is being fetched. */
async function settled(listing: Listing): Promise<void> {
  while (listing.loading) {
    await new Promise<void>(resolve => {
      const look = () => {
        listing.changed.disconnect(look);
        resolve();
      };
      listing.changed.connect(look);
    });
  }
}
