/** Small texts that outlive a reload of the page, in this browser, for this Jupyter server. */
import { ServerConnection } from '@jupyterlab/services';

/** What is kept under `name`, "" if nothing is. */
export function remembered(name: string): string {
  return guarded(() => window.localStorage.getItem(keyOf(name))) ?? '';
}

/** Keep `text` under `name`; "" keeps nothing. */
export function remember(name: string, text: string): void {
  guarded(() =>
    text ? window.localStorage.setItem(keyOf(name), text) : window.localStorage.removeItem(keyOf(name))
  );
}

function keyOf(name: string): string {
  return `pachmount-lab:${name}:${ServerConnection.makeSettings().baseUrl}`;
}

/** A browser may forbid to store anything, or have no room: then things are kept until the page is reloaded. */
function guarded<T>(use: () => T): T | null {
  try {
    return use();
  } catch (error) {
    if (error instanceof DOMException) {
      return null;
    }
    throw error;
  }
}
