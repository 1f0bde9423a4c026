/**
 * The entries of one directory, fetched page by page as far as somebody looks.
 */
import { Signal, type ISignal } from '@lumino/signaling';

import { get, type IDirectoryPage, type IEntry, type RequestError } from '../api';
import { asRequestError } from '../model';
import { routeFor } from './path';

/** Entries per request. */
export const PAGE = 1000;
/** Entries per request at most, to reach a row that is far behind: as many as the daemon tells at once. */
export const MAX_PAGE = 10000;

type Fetch = (
  path: string,
  query: Record<string, string | number>,
  signal?: AbortSignal
) => Promise<IDirectoryPage>;

const fetchPage: Fetch = (path, query, signal) =>
  get<IDirectoryPage>(routeFor('contents', path), { content: 1, type: 'directory', ...query }, { signal });

export class Listing {
  constructor(private readonly _fetch: Fetch = fetchPage) {}

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get path(): string {
    return this._path;
  }

  get filter(): string {
    return this._filter;
  }

  /** The entries that are known: the first ones of the directory. */
  get entries(): readonly IEntry[] {
    return this._entries;
  }

  /** How many entries there are, as far as that is known. */
  get rowCount(): number {
    return this._complete ? this._entries.length : Math.max(this._total ?? 0, this._entries.length);
  }

  /** Whether `rowCount` is the number of all entries. */
  get isCounted(): boolean {
    return this._complete || this._total !== null;
  }

  /** Whether files can be made, renamed and deleted here. */
  get writable(): boolean {
    return this._writable;
  }

  get loading(): boolean {
    return this._abort !== null;
  }

  /** Whether the entries are those of the directory; false before the first answer. */
  get loaded(): boolean {
    return this._loaded;
  }

  /** Why the directory, or its next page, could not be listed. */
  get error(): RequestError | null {
    return this._error;
  }

  /** Show another directory, without a filter. */
  show(path: string): Promise<void> {
    this._path = path;
    this._filter = '';
    this._forget();
    return this._load([], '');
  }

  /** Show only what has `filter` in its name. What is shown remains until the answer is here. */
  setFilter(filter: string): Promise<void> {
    this._filter = filter;
    this._needed = 0;
    return this._load([], '');
  }

  /** List again; what is shown remains until the rows that are looked at are here. */
  reload(): Promise<void> {
    return this._load([], '');
  }

  /** Fetch pages until the row `index` is known, and one more when it is the last one that is. */
  need(index: number): void {
    this._needed = index;
    const isMissing = !this._complete && index >= this._entries.length - 1;
    if (isMissing && this._loaded && !this.loading && !this._error) {
      void this._load(this._entries, this._next);
    }
  }

  /** Ask how many entries there are: a daemon that still lists does not know at first. Throws RequestError. */
  async count(): Promise<void> {
    const [path, filter] = [this._path, this._filter];
    const { total } = await this._fetch(path, { filter, after: '', number: 1 });
    if (path === this._path && filter === this._filter && this._loaded && !this.isCounted && total !== null) {
      this._total = total;
      this._changed.emit();
    }
  }

  /** Ask again after an error. */
  retry(): Promise<void> {
    return this._loaded ? this._load(this._entries, this._next) : this._load([], '');
  }

  dispose(): void {
    this._abort?.abort();
    this._abort = null;
    Signal.clearData(this);
  }

  /** Fetch the pages behind `entries` up to the row that is needed. A later call ends an earlier one. */
  private async _load(entries: readonly IEntry[], after: string): Promise<void> {
    this._abort?.abort();
    const abort = (this._abort = new AbortController());
    const isContinued = entries.length > 0;
    this._error = null;
    this._changed.emit();
    try {
      do {
        const query = { filter: this._filter, after, number: pageFor(this._needed + 1 - entries.length) };
        const page = await this._fetch(this._path, query, abort.signal);
        if (abort !== this._abort) {
          return;
        }
        entries = entries.concat(page.content);
        after = page.next ?? '';
        if (isContinued || !after || entries.length > this._needed) {
          this._take(entries, after, page);
        }
      } while (after && entries.length <= this._needed);
    } catch (error) {
      if (abort !== this._abort) {
        return; // another request took its place
      }
      this._error = asRequestError(error);
      if (!isContinued) {
        this._forget();
      }
    }
    this._abort = null;
    this._changed.emit();
  }

  private _take(entries: readonly IEntry[], next: string, page: IDirectoryPage): void {
    this._entries = entries;
    this._next = next;
    this._complete = !next;
    this._total = page.total;
    this._writable = page.writable;
    this._loaded = true;
    this._changed.emit();
  }

  private _forget(): void {
    this._entries = [];
    this._next = '';
    this._complete = false;
    this._total = null;
    this._writable = false;
    this._loaded = false;
    this._needed = 0;
  }

  private readonly _changed = new Signal<this, void>(this);
  private _path = '';
  private _filter = '';
  private _entries: readonly IEntry[] = [];
  private _next = '';
  private _complete = false;
  private _total: number | null = null;
  private _writable = false;
  private _loaded = false;
  private _needed = 0;
  private _error: RequestError | null = null;
  private _abort: AbortController | null = null;
}

/** How many entries to ask for when so many are missing: whole pages, in few requests. */
function pageFor(missing: number): number {
  return Math.min(Math.max(Math.ceil(missing / PAGE), 1) * PAGE, MAX_PAGE);
}
