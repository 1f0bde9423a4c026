/**
 * DatumModel: the input spec that a person works on, and the datum that the mount directory shows.
 */
import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import { requestAPI, routeUrl, RequestError, type IDatum, type IDatumStatus } from '../api';
import { remember, remembered } from '../common/remembered';
import type { MountModel } from '../model';
import { formatOf, inputOf, toText, type Format } from './spec';

/** The name under which the spec outlives a reload. */
const MEMORY = 'datum-spec';

/** The spec that a person wrote (null: none), and the one whose datums were loaded last. */
interface IMemory {
  edited: string | null;
  format: Format;
  loaded: { text: string; input: string } | null;
}

export type Busy = '' | 'load' | 'show' | 'leave';
export type End = '' | 'first' | 'last';

export class DatumModel implements IDisposable {
  constructor(private readonly _mounts: MountModel) {
    this._memory = readMemory();
    _mounts.changed.connect(this._onMounts, this);
  }

  /** Emitted when anything that the getters tell is another than before. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The spec: what was typed, else the one of the datums that are shown, else one of what is mounted. */
  get text(): string {
    const { edited, format, loaded } = this._memory;
    if (edited !== null) {
      return edited;
    }
    const input = this._sent === null ? this.datum?.input : undefined;
    if (input) {
      return loaded?.input === JSON.stringify(input) ? loaded.text : toText(input, format);
    }
    const mounted = inputOf(this._mounts.mounts);
    return this._sent ?? (mounted ? toText(mounted, format) : '');
  }

  set text(text: string) {
    this._loadError = null;
    this._keep({ edited: text, format: text.trim() ? formatOf(text) : this._memory.format });
  }

  get isEdited(): boolean {
    return this._memory.edited !== null;
  }

  /** Forget what was typed. */
  reset(): void {
    this._loadError = null;
    this._keep({ edited: null });
  }

  /** The datum that is shown as the last poll told; null outside of datum mode. */
  get datum(): IDatumStatus | null {
    return this._mounts.status?.datum ?? null;
  }

  /** Which datum of how many is shown, also before a poll told of it. */
  get position(): IDatum | null {
    return this._answer ?? this.datum;
  }

  get busy(): Busy {
    return this._busy;
  }

  /** Why the datums of the spec could not be loaded. */
  get loadError(): RequestError | null {
    return this._loadError;
  }

  /** Why another datum could not be shown, or why the mounts did not come back. */
  get stepError(): RequestError | null {
    return this._stepError;
  }

  /** The end at which a step was tried. */
  get end(): End {
    return this._end;
  }

  /** Show the first datum of the spec in the place of the mounts. Like all below: whether it is done. */
  async load(): Promise<boolean> {
    const text = this.text;
    this._sent = text;
    const done = await this._do('load', 'datums/_mount', {}, text);
    const input = this.datum?.input;
    if (done && input) {
      this._keep({ loaded: { text, input: JSON.stringify(input) } });
    }
    this._sent = null;
    this._changed.emit();
    return done;
  }

  first(): Promise<boolean> {
    return this._do('show', '_show_datum', { idx: 0 });
  }

  previous(): Promise<boolean> {
    return this._step(-1);
  }

  next(): Promise<boolean> {
    return this._step(1);
  }

  /** Show the last datum of those that are known. */
  async last(): Promise<boolean> {
    const { position } = this;
    return position !== null && this._do('show', '_show_datum', { idx: position.num_datums - 1 });
  }

  /** Show the datum with a number (from 1) or an id. */
  show(wanted: string): Promise<boolean> {
    return this._do('show', '_show_datum', isNumber(wanted) ? { idx: Number(wanted) - 1 } : { id: wanted });
  }

  /** Back to what was mounted before. */
  leave(): Promise<boolean> {
    return this._do('leave', 'datums/_unmount');
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    this._mounts.changed.disconnect(this._onMounts, this);
    Signal.clearData(this);
  }

  /** Steps that are wanted while one is under way become one: to where all of them lead. */
  private async _step(by: 1 | -1): Promise<boolean> {
    const { position } = this;
    if (position === null) {
      return false;
    }
    const { num_datums: known, all_datums_received: isComplete } = position;
    const target = Math.min((this._target ?? position.idx) + by, known);
    if (target < 0 || (isComplete && target === known)) {
      return this._stop(by < 0 ? 'first' : 'last');
    }
    const isUnderWay = this._target !== null;
    this._target = target;
    if (isUnderWay) {
      return false;
    }
    let done: boolean;
    let reached: number;
    do {
      reached = this._target;
      // whether there is one behind those that are known, the daemon tells
      done = await (reached === known
        ? this._do('show', 'datums/_next')
        : this._do('show', '_show_datum', { idx: reached }));
    } while (done && this._target !== reached);
    this._target = null;
    return done;
  }

  private _stop(end: End): boolean {
    this._end = end;
    this._stepError = null;
    this._changed.emit();
    return false;
  }

  private async _do(
    busy: Busy,
    route: string,
    query: { idx?: number; id?: string } = {},
    body?: string
  ): Promise<boolean> {
    if (this._busy) {
      return false;
    }
    this._busy = busy;
    this._end = '';
    this._loadError = this._stepError = null;
    this._changed.emit();
    try {
      const answer = await requestAPI<IDatum>(routeUrl(route, query), { method: 'PUT', body });
      this._answer = busy === 'leave' ? null : answer;
    } catch (error) {
      this._fail(busy, error);
      return false;
    } finally {
      this._changed.emit();
      await this._mounts.refreshState();
      this._answer = null; // what the poll told is newer
      this._busy = '';
      this._changed.emit();
    }
    return true;
  }

  private _fail(busy: Busy, error: unknown): void {
    const failure =
      error instanceof RequestError ? error : new RequestError(0, 'unexpected', String(error), '', '');
    if (busy === 'load') {
      this._loadError = failure;
    } else {
      this._stepError = failure;
    }
  }

  private _keep(memory: Partial<IMemory>): void {
    this._memory = { ...this._memory, ...memory };
    remember(MEMORY, JSON.stringify(this._memory));
    this._changed.emit();
  }

  private _onMounts(): void {
    this._changed.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private _memory: IMemory;
  private _sent: string | null = null;
  private _answer: IDatum | null = null;
  /** The index to which the steps under way lead. */
  private _target: number | null = null;
  private _busy: Busy = '';
  private _end: End = '';
  private _loadError: RequestError | null = null;
  private _stepError: RequestError | null = null;
  private _isDisposed = false;
}

/** Whether a text is the number of a datum; an id is 64 hexadecimal digits, which may all be decimal. */
export function isNumber(text: string): boolean {
  return /^\d{1,15}$/.test(text);
}

function readMemory(): IMemory {
  const nothing: IMemory = { edited: null, format: 'yaml', loaded: null };
  const text = remembered(MEMORY);
  try {
    return { ...nothing, ...(text ? (JSON.parse(text) as IMemory) : {}) };
  } catch {
    return nothing; // another version wrote it
  }
}
