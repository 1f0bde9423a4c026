import React from 'react';

import { formatBytes } from '../common/text';
import type { IContext } from '../context';
import { Fact, Section } from './Section';

/** How much the cache holds, and how much it may. */
export function CacheSection({ model, trans }: IContext): JSX.Element | null {
  const cache = model.status?.cache;
  if (!cache) {
    return null;
  }
  const of = (bytes: number, limit: number) => trans.__('%1 of %2', formatBytes(bytes), formatBytes(limit));
  return (
    <Section title={trans.__('Cache')}>
      {cache.disabled_reason && (
        <div className="pach-Message jp-mod-warn" data-testid="Config__cacheDisabled">
          {trans.__('Nothing is kept on the disk: %1', cache.disabled_reason)}
        </div>
      )}
      <dl className="pach-Facts">
        {!cache.disabled_reason && (
          <Fact
            name={trans.__('On the disk')}
            value={
              <>
                {of(cache.disk_bytes, cache.disk_limit)}
                <progress
                  max={cache.disk_limit}
                  value={cache.disk_bytes}
                  aria-label={trans.__('Use of the cache on the disk')}
                />
              </>
            }
            testId="Config__cacheDisk"
          />
        )}
        <Fact
          name={trans.__('In memory')}
          value={of(cache.memory_bytes, cache.memory_limit)}
          testId="Config__cacheMemory"
        />
        <Fact name={trans.__('Fetched')} value={formatBytes(cache.fetched_bytes)} />
        <Fact name={trans.__('Directory')} value={cache.directory} title={cache.directory} />
      </dl>
    </Section>
  );
}
