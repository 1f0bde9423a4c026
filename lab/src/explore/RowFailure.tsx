import React, { useEffect, useRef } from 'react';

import { ErrorMessage, type IMessageProps } from '../common/Message';

/** Why something about a row failed; it comes into view by itself. */
export function RowFailure(props: Pick<IMessageProps, 'trans' | 'error' | 'onDismiss'>): JSX.Element {
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // in braces: new browsers return a promise, which React would take for a function to clean up with
    element.current?.scrollIntoView?.({ block: 'nearest' });
  }, [props.error]);
  return (
    <div ref={element} className="pach-RowFailure">
      <ErrorMessage {...props} testId="ListItem__failure" />
    </div>
  );
}
