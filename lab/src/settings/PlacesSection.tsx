import React from 'react';

import type { IContext } from '../context';
import { Fact, Section } from './Section';

/** Where the files are to be found, and how the daemon is reached. */
export function PlacesSection({ model, trans }: IContext): JSX.Element | null {
  const { state, status } = model;
  if (!state) {
    return null;
  }
  const path = (name: string, value: string, testId?: string) =>
    value && <Fact name={name} value={value} title={value} testId={testId} />;
  return (
    <Section title={trans.__('Paths')}>
      <dl className="pach-Facts">
        {path(trans.__('Mounts'), state.mount_dir, 'Config__mountDir')}
        {path(trans.__('Socket'), status?.socket ?? '', 'Config__socket')}
        {path(trans.__('REST API'), status?.listen ?? '')}
        {path(trans.__('Log'), status?.log_file ?? '', 'Config__logFile')}
      </dl>
      {!state.fuse.available && (
        <div className="pach-Message jp-mod-warn" data-testid="Config__noFuse">
          {state.fuse.reason
            ? trans.__('Files have no paths here, they can only be browsed: %1', state.fuse.reason)
            : trans.__('Files have no paths here, they can only be browsed.')}
        </div>
      )}
    </Section>
  );
}
