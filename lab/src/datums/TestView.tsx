import React from 'react';

import type { IContext } from '../context';

export function TestView({ trans }: IContext): JSX.Element {
  return <section aria-label={trans.__('Test')} className="pach-Test" />;
}
