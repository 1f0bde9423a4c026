import React, { useMemo, useRef } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { RequestError } from '../api';
import { ErrorMessage } from '../common/Message';
import { useRested } from '../common/rested';
import { checkSyntax, lineIn } from './spec';

/** Milliseconds without a key before the syntax is complained about. */
const TYPING = 400;
const MOST_ROWS = 16;
const LEAST_ROWS = 6;
const EXAMPLE = `pfs:
  repo: images
  branch: master
  glob: /*
`;

export interface ISpecEditorProps {
  trans: TranslationBundle;
  text: string;
  /** Why the daemon refused the text. */
  error: RequestError | null;
  onChange: (text: string) => void;
  readOnly: boolean;
}

/** The text of an input spec with line numbers, and below it what is wrong with it. */
export function SpecEditor({ trans, text, error, onChange, readOnly }: ISpecEditorProps): JSX.Element {
  const area = useRef<HTMLTextAreaElement>(null);
  const gutter = useRef<HTMLDivElement>(null);
  const rested = useRested(text, TYPING);
  const syntax = useMemo(() => (rested === text ? checkSyntax(text) : null), [rested, text]);
  const wrongLine = error ? lineIn(error.message) : (syntax?.line ?? null);
  const lines = text.split('\n').length;
  const rows = Math.min(Math.max(lines, LEAST_ROWS), MOST_ROWS);

  return (
    <div className="pach-Spec">
      <label className="pach-Field-label" htmlFor="pach-datum-spec">
        {trans.__('Input spec')}
      </label>
      <div className="pach-Spec-frame">
        <div className="pach-Spec-gutter" ref={gutter} aria-hidden="true">
          {Array.from({ length: lines }, (_, index) => (
            <div key={index} className={index + 1 === wrongLine ? 'jp-mod-error' : undefined}>
              {index + 1}
            </div>
          ))}
        </div>
        <textarea
          ref={area}
          id="pach-datum-spec"
          data-testid="Datum__inputSpecInput"
          className="pach-Spec-text"
          value={text}
          rows={rows}
          wrap="off"
          spellCheck={false}
          autoCapitalize="off"
          placeholder={EXAMPLE}
          readOnly={readOnly}
          aria-invalid={error !== null || syntax !== null}
          aria-describedby="pach-datum-problem"
          onChange={event => onChange(event.target.value)}
          onScroll={event => gutter.current?.scrollTo({ top: event.currentTarget.scrollTop })}
        />
      </div>
      <div id="pach-datum-problem" aria-live="polite">
        {error && <ErrorMessage trans={trans} error={error} testId="Datum__errorMessage" />}
        {!error && syntax && (
          <div className="pach-Message jp-mod-error" data-testid="Datum__errorMessage">
            <span className="pach-Message-text">
              {trans.__('Not valid YAML or JSON, line %1: %2', syntax.line, syntax.message)}
            </span>
          </div>
        )}
        {wrongLine !== null && wrongLine <= lines && (
          <button
            type="button"
            className="pach-LinkButton"
            onClick={() => area.current && selectLine(area.current, wrongLine)}
          >
            {trans.__('Go to line %1', wrongLine)}
          </button>
        )}
      </div>
    </div>
  );
}

/** Select a line (from 1) and show it. */
function selectLine(area: HTMLTextAreaElement, line: number): void {
  const lines = area.value.split('\n');
  const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
  area.focus();
  area.setSelectionRange(start, start + lines[line - 1].length);
  area.scrollTop = (area.scrollHeight / lines.length) * (line - 1) - area.clientHeight / 2;
}
