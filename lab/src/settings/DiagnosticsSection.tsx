import React, { useState } from 'react';
import { Clipboard } from '@jupyterlab/apputils';

import { get, type ICheck, type IDoctor } from '../api';
import { ErrorMessage } from '../common/Message';
import type { IContext } from '../context';
import { reportOf } from './report';
import { Section } from './Section';
import { useTask } from './task';

/** What `pachmount doctor` finds, on request. */
export function DiagnosticsSection({ model, trans }: IContext): JSX.Element {
  const [checks, setChecks] = useState<ICheck[] | null>(null);
  const [copied, setCopied] = useState(false);
  const task = useTask();
  const problems = checks?.filter(check => check.verdict === 'problem').length ?? 0;

  const onRun = () => {
    setCopied(false);
    void task.run(async () => setChecks((await get<IDoctor>('doctor')).checks));
  };
  const onCopy = () => {
    Clipboard.copyToSystem(reportOf(checks ?? [], model.state));
    setCopied(true);
  };

  return (
    <Section title={trans.__('Diagnostics')}>
      <div className="pach-Settings-actions">
        <button
          type="button"
          className="pach-Button"
          data-testid="Config__runChecks"
          disabled={task.busy}
          onClick={onRun}
        >
          {task.busy ? trans.__('Checking…') : trans.__('Run the checks')}
        </button>
        {checks && (
          <button
            type="button"
            className="pach-Button"
            data-testid="Config__copyChecks"
            title={trans.__('Copy as text, for a bug report')}
            onClick={onCopy}
          >
            {trans.__('Copy')}
          </button>
        )}
      </div>
      <div role="status" className="pach-Settings-note">
        {copied
          ? trans.__('Copied')
          : checks && !task.busy
            ? problems > 0
              ? trans._n('%1 problem found', '%1 problems found', problems)
              : trans.__('No problems found')
            : ''}
      </div>
      {task.error && <ErrorMessage trans={trans} error={task.error} testId="Config__checksError" />}
      {checks && (
        <ul className="pach-Checks" data-testid="Config__checks" aria-busy={task.busy}>
          {checks.map((check, index) => (
            <Check
              key={index}
              {...check}
              words={{ ok: trans.__('ok'), note: trans.__('note'), problem: trans.__('problem') }}
            />
          ))}
        </ul>
      )}
    </Section>
  );
}

function Check({
  name,
  verdict,
  found,
  advice,
  words
}: ICheck & { words: Record<ICheck['verdict'], string> }) {
  return (
    <li className={`pach-Checks-check jp-mod-${verdict}`}>
      <div className="pach-Checks-head">
        <span className="pach-Checks-name">{name}</span>
        <span className="pach-Checks-verdict">{words[verdict]}</span>
      </div>
      <div>{found}</div>
      {advice && <code className="pach-Checks-advice">{advice}</code>}
    </li>
  );
}
