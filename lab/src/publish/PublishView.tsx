import React from 'react';

import type { IContext } from '../context';

export function PublishView({ trans }: IContext): JSX.Element {
  return <section aria-label={trans.__('Publish')} className="pach-Publish" />;
}
