/**
 * Input specs as texts: one for what is mounted, and what is wrong with the syntax of one.
 *
 * What a spec means is the daemon's business: it gets the text as it was typed, and tells the line of what it refuses.
 */
import { LineCounter, parseAllDocuments, stringify } from 'yaml';

import type { IMountStatus } from '../api';

export type Format = 'yaml' | 'json';

export interface ISyntaxError {
  message: string;
  /** Counted from 1. */
  line: number;
}

const DEFAULT_PROJECT = 'default';
const DEFAULT_BRANCH = 'master';

/** JSON begins with a bracket; what is neither is YAML. */
export function formatOf(text: string): Format {
  return /^\s*[{[]/.test(text) ? 'json' : 'yaml';
}

export function toText(input: object, format: Format): string {
  // the daemon reads YAML 1.1, where `on` must be quoted
  return format === 'json' ? JSON.stringify(input, null, 2) + '\n' : stringify(input, { version: '1.1' });
}

/** The input that shows all files of all mounts in one datum; null if nothing is mounted. */
export function inputOf(mounts: readonly IMountStatus[]): object | null {
  const inputs = mounts.filter(mount => mount.repo).map(mount => ({ pfs: pfsInput(mount) }));
  return inputs.length > 1 ? { cross: inputs } : (inputs[0] ?? null);
}

function pfsInput({ name, project, repo, branch, commit }: IMountStatus): object {
  return {
    name,
    repo,
    ...(project && project !== DEFAULT_PROJECT && { project }),
    ...(branch && branch !== DEFAULT_BRANCH && { branch }),
    ...(!branch && commit && { commit }),
    glob: '/'
  };
}

/** What keeps the first document in a text from being read; null if nothing does. */
export function checkSyntax(text: string): ISyntaxError | null {
  if (formatOf(text) === 'json' && isJson(text)) {
    return null; // with tabs it is no YAML
  }
  const lines = new LineCounter();
  const [first] = parseAllDocuments(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: false,
    version: '1.1'
  });
  const error = first?.errors[0];
  return error ? { message: error.message, line: lines.linePos(error.pos[0]).line } : null;
}

/** The line that a sentence of the daemon speaks of (`cross[1].pfs, line 5`), null if of none. */
export function lineIn(sentence: string): number | null {
  const found = /\bline (\d+)/.exec(sentence);
  return found ? Number(found[1]) : null;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
