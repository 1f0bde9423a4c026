import React from 'react';

import type { IContext } from '../context';

export function FileBrowser({ trans }: IContext): JSX.Element {
  return <section aria-label={trans.__('Files')} className="pach-Files" />;
}
