/**
 * ExploreModel: what the Explore view is looking at; it outlives the view, so that a change of tabs loses nothing.
 */
import { Signal, type ISignal } from '@lumino/signaling';

/** A form below the row of a mount. */
export type FormKind = 'commit' | 'unmount';

export class ExploreModel {
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Emitted when the search field of the repositories is to get the focus. */
  get searchWanted(): ISignal<this, void> {
    return this._searchWanted;
  }

  /** The project whose repositories are listed, "" for all. */
  get project(): string {
    return this._project;
  }

  set project(project: string) {
    this._project = project;
    this._changed.emit();
  }

  get search(): string {
    return this._search;
  }

  set search(search: string) {
    this._search = search;
    this._changed.emit();
  }

  get isDescending(): boolean {
    return this._isDescending;
  }

  set isDescending(isDescending: boolean) {
    this._isDescending = isDescending;
    this._changed.emit();
  }

  /** What was done last, in words. */
  get notice(): string {
    return this._notice;
  }

  set notice(notice: string) {
    this._notice = notice;
    this._changed.emit();
  }

  /** The form that is open below the row of a mount, null for none. */
  form(name: string): FormKind | null {
    return this._forms.get(name) ?? null;
  }

  openForm(name: string, kind: FormKind): void {
    this._forms.set(name, kind);
    this._changed.emit();
  }

  closeForm(name: string): void {
    if (this._forms.delete(name)) {
      this._changed.emit();
    }
  }

  /** The name with which a repository was tried to be mounted last: a failure stands there. */
  attempt(repo: string): string | undefined {
    return this._attempts.get(repo);
  }

  /** The names that were tried. */
  get attempts(): Iterable<string> {
    return this._attempts.values();
  }

  noteAttempt(repo: string, name: string): void {
    this._attempts.set(repo, name);
  }

  /** The warm-ups whose failure a person looked at. */
  readonly dismissedWarmups = new Set<string>();

  dismissWarmup(id: string): void {
    this.dismissedWarmups.add(id);
    this._changed.emit();
  }

  wantSearch(): void {
    this._searchWanted.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _searchWanted = new Signal<this, void>(this);
  private readonly _forms = new Map<string, FormKind>();
  private readonly _attempts = new Map<string, string>();
  private _project = '';
  private _search = '';
  private _isDescending = false;
  private _notice = '';
}
