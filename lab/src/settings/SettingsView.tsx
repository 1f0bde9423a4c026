import React from 'react';

import type { IContext } from '../context';

export function SettingsView({ trans }: IContext): JSX.Element {
  return <section aria-label={trans.__('Settings')} className="pach-Settings" />;
}
