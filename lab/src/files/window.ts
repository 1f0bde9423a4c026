/** Which rows of a long list are to be in the document. Lengths are in CSS pixels. */

export const ROW_HEIGHT = 24;
/** Rows above and below those in view, so that scrolling finds them there. */
const MARGIN = 10;
/** Browsers do not lay out elements of more than about 17 million pixels; whoever looks for more rows filters. */
export const MAX_ROWS = 500000;
/** The height of a list that is not laid out yet. */
const FIRST_HEIGHT = 480;

/** Rows from `first` up to, not including, `last`, out of `count` that can be scrolled to. */
export function rowsInView(
  top: number,
  height: number,
  rows: number
): { first: number; last: number; count: number } {
  const count = Math.min(rows, MAX_ROWS);
  const first = Math.max(Math.floor(top / ROW_HEIGHT) - MARGIN, 0);
  const inView = Math.ceil((height || FIRST_HEIGHT) / ROW_HEIGHT);
  return { first: Math.min(first, count), last: Math.min(first + inView + 2 * MARGIN, count), count };
}

/** Where to scroll so that a row is in view, below the header, which has the height of a row. */
export function scrollTopFor(row: number, top: number, height: number): number {
  const rowTop = row * ROW_HEIGHT;
  const room = Math.max((height || FIRST_HEIGHT) - 2 * ROW_HEIGHT, 0);
  return Math.min(rowTop, Math.max(top, rowTop - room));
}
