import React from 'react';

import { useSignal } from '../common/signal';
import type { IContext } from '../context';
import { CacheSection } from './CacheSection';
import { ClusterSection } from './ClusterSection';
import { DaemonSection } from './DaemonSection';
import { DiagnosticsSection } from './DiagnosticsSection';
import { LoginSection } from './LoginSection';
import { PlacesSection } from './PlacesSection';

/** The cluster and the login, and what there is to know about daemon, cache and paths. */
export function SettingsView(context: IContext): JSX.Element {
  const { model, trans } = context;
  useSignal(model.changed);
  const isRunning = model.status !== null;
  return (
    <section aria-label={trans.__('Settings')} className="pach-Settings">
      {isRunning && <ClusterSection {...context} />}
      {isRunning && <LoginSection {...context} />}
      {isRunning && <CacheSection {...context} />}
      <PlacesSection {...context} />
      <DaemonSection {...context} />
      <DiagnosticsSection {...context} />
    </section>
  );
}
