/** Where keys lead in a list of rows. */

/** The row after a key, or null if the key is not one of movement. `page` is how many rows are in view. */
export function rowAfterKey(key: string, row: number, rows: number, page: number): number | null {
  const step = Math.max(page - 1, 1);
  const targets: Record<string, number> = {
    ArrowDown: row + 1,
    ArrowUp: row < 0 ? 0 : row - 1,
    Home: 0,
    End: rows - 1,
    PageDown: row + step,
    PageUp: row - step
  };
  return key in targets ? Math.max(Math.min(targets[key], rows - 1), 0) : null;
}

/** Milliseconds after which a letter begins another word. */
const PAUSE = 800;

/** Finds names by their first letters as they are typed. */
export class TypeAhead {
  /** Whether a space belongs to a name that is being typed. */
  isTyping(now: number): boolean {
    return this._typed !== '' && now - this._last < PAUSE;
  }

  /** The row that a typed letter leads to, -1 if there is none. `now` is in milliseconds. */
  find(letter: string, now: number, names: readonly { name: string }[], row: number): number {
    const typed = (this.isTyping(now) ? this._typed : '') + letter.toLowerCase();
    this._typed = typed;
    this._last = now;
    const isRepeated = [...typed].every(other => other === typed[0]);
    const prefix = isRepeated ? typed[0] : typed; // "aaa" goes from one name with a to the next
    const first = isRepeated ? row + 1 : Math.max(row, 0);
    for (let step = 0; step < names.length; step++) {
      const index = (first + step) % names.length;
      if (names[index].name.toLowerCase().startsWith(prefix)) {
        return index;
      }
    }
    return -1;
  }

  private _typed = '';
  private _last = 0;
}
