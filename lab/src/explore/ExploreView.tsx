import React from 'react';

import type { IContext } from '../context';

export function ExploreView({ trans }: IContext): JSX.Element {
  return <section aria-label={trans.__('Explore')} className="pach-Explore" />;
}
