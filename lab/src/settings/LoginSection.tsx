import React, { useRef, useState } from 'react';

import type { AtUnmount } from '../api';
import { ErrorMessage } from '../common/Message';
import type { IContext } from '../context';
import { logOut, stagedFiles } from './actions';
import { useLogin } from './login';
import { StagedQuestion } from './Question';
import { Section } from './Section';
import { useTask } from './task';

/** Who is logged in; where the cluster knows of logins at all. */
export function LoginSection({ model, trans }: IContext): JSX.Element | null {
  const [asking, setAsking] = useState(false);
  const status = useRef<HTMLDivElement>(null);
  const task = useTask();
  const cluster = model.status?.cluster;
  if (!cluster || cluster.state === 'none') {
    return null;
  }

  const go = async (staged: AtUnmount) => {
    setAsking(false);
    if (await task.run(() => logOut(model, staged))) {
      status.current?.focus(); // the button is gone
    }
  };
  const sentences = {
    off: trans.__('This cluster asks for no login.'),
    unknown: trans.__('Not known while the cluster does not answer.'),
    'logged-out': trans.__('Not logged in.'),
    'logged-in': cluster.username ? trans.__('Logged in as %1.', cluster.username) : trans.__('Logged in.')
  };
  return (
    <Section title={trans.__('Login')}>
      <div
        ref={status}
        role="status"
        tabIndex={-1}
        className="pach-Settings-login"
        data-testid="Config__user"
      >
        {sentences[cluster.auth]}
        {cluster.auth === 'logged-in' && cluster.login_expires !== null && (
          <div className="pach-Settings-note" data-testid="Config__loginExpires">
            {trans.__('Until %1', new Date(cluster.login_expires * 1000).toLocaleString())}
          </div>
        )}
      </div>
      {cluster.auth === 'logged-out' && <Login model={model} trans={trans} />}
      {cluster.auth === 'logged-in' && !asking && (
        <div className="pach-Settings-actions">
          <button
            type="button"
            className="pach-Button"
            data-testid="Config__logout"
            disabled={task.busy}
            onClick={() => (stagedFiles(model) > 0 ? setAsking(true) : void go('keep'))}
          >
            {task.busy ? trans.__('Logging out…') : trans.__('Logout')}
          </button>
        </div>
      )}
      {asking && (
        <StagedQuestion
          trans={trans}
          files={stagedFiles(model)}
          onAnswer={staged => void go(staged)}
          onCancel={() => setAsking(false)}
        />
      )}
      {task.error && <ErrorMessage trans={trans} error={task.error} testId="Config__logoutError" />}
    </Section>
  );
}

/** The button that begins a login, and how to go on. It goes away when somebody is logged in. */
function Login({ model, trans }: Pick<IContext, 'model' | 'trans'>): JSX.Element {
  const [{ locked, url, blocked, expired, error }, begin] = useLogin(model);
  const outcome = model.state?.login;
  const failure = outcome?.state === 'failed' ? outcome.error : null;
  return (
    <>
      <div className="pach-Settings-actions">
        <button
          type="button"
          className="pach-Button jp-mod-accept"
          data-testid="Config__login"
          aria-disabled={locked}
          onClick={() => !locked && void begin()}
        >
          {trans.__('Login')}
        </button>
      </div>
      <div role="status">
        {expired && !failure && trans.__('The login was not done within three minutes.')}
        {url && !failure && (
          <div className="pach-Message" data-testid="Config__loginWaiting">
            <div className="pach-Message-text">
              <span>
                {blocked
                  ? trans.__('The browser opened no window. Go on here:')
                  : trans.__('Go on in the window that opened, or here:')}
              </span>
              <a href={url} target="_blank" rel="noopener noreferrer" data-testid="Config__loginUrl">
                {url}
              </a>
            </div>
          </div>
        )}
      </div>
      {error && <ErrorMessage trans={trans} error={error} testId="Config__loginError" />}
      {failure && !error && (
        <ErrorMessage
          trans={trans}
          error={{ ...failure, what: trans.__('The login failed: %1', failure.error) }}
          testId="Config__loginFailed"
        />
      )}
    </>
  );
}
