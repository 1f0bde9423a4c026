import React, { useId } from 'react';

/** A part of the settings with its heading. */
export function Section({ title, children }: React.PropsWithChildren<{ title: string }>): JSX.Element {
  const id = useId();
  return (
    <section className="pach-Settings-section" aria-labelledby={id}>
      <h2 id={id} className="pach-Settings-title">
        {title}
      </h2>
      {children}
    </section>
  );
}

export interface IFactProps {
  name: string;
  value: React.ReactNode;
  /** Shown whole on hovering, where there may be no room for it. */
  title?: string;
  testId?: string;
}

/** A name and its value, in a list of class `pach-Facts`. */
export function Fact({ name, value, title, testId }: IFactProps): JSX.Element {
  return (
    <>
      <dt>{name}</dt>
      <dd className="pach-Settings-value" title={title} data-testid={testId}>
        {value}
      </dd>
    </>
  );
}
