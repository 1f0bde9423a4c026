import React, { useEffect, useRef } from 'react';

import { ErrorMessage, type IMessageProps } from '../common/Message';

/** Why something about a row failed; it comes into view by itself. */
export function RowFailure(props: Pick<IMessageProps, 'trans' | 'error' | 'onDismiss'>): JSX.Element {
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => element.current?.scrollIntoView?.({ block: 'nearest' }), [props.error]);
  return (
    <div ref={element}>
      <ErrorMessage {...props} testId="ListItem__failure" />
    </div>
  );
}
