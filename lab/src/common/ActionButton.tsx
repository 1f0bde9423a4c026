import React from 'react';

export interface IActionButtonProps extends React.ButtonHTMLAttributes<HTMLButtonElement> {
  isAccept?: boolean;
  testId?: string;
}

/** A button that keeps the focus, and tells by its title why it does nothing, while it is disabled. */
export function ActionButton({
  disabled,
  isAccept,
  testId,
  className = 'pach-Button',
  onClick,
  ...rest
}: IActionButtonProps): JSX.Element {
  return (
    <button
      {...rest}
      type="button"
      className={isAccept ? `${className} jp-mod-accept` : className}
      data-testid={testId}
      aria-disabled={disabled ?? false}
      onClick={event => !disabled && onClick?.(event)}
    />
  );
}
