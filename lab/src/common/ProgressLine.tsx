import React from 'react';

export interface IProgressLineProps {
  text: string;
  /** Null while nobody knows how much is to be done. */
  value: number | null;
  max: number | null;
  testId?: string;
  children?: React.ReactNode;
}

/** How far something is, in words and as a bar; `children` are buttons beside the words. */
export function ProgressLine({ text, value, max, testId, children }: IProgressLineProps): JSX.Element {
  const known = value === null || max === null ? {} : { value, max };
  return (
    <div className="pach-ProgressLine" data-testid={testId}>
      <div className="pach-ProgressLine-head">
        <span className="pach-ProgressLine-text">{text}</span>
        {children}
      </div>
      <progress {...known} aria-label={text} />
    </div>
  );
}
