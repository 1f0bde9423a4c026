import { useEffect, useReducer, useState } from 'react';

import { remember, remembered } from '../common/remembered';
import type { MountModel } from '../model';
import type { ICondition } from './conditions';

/** Milliseconds after which a poll has to confirm what another one told. */
export const CONFIRM_AFTER = 1500;

const MEMORY = 'dismissed-hints';

/** Leave out what only one poll told of so far, and poll once more because of it. */
export function useConfirmed(conditions: readonly ICondition[], model: MountModel): ICondition[] {
  const [isConfirmed, setConfirmed] = useState(false);
  const isFleeting = conditions.some(condition => condition.isFleeting);
  useEffect(() => {
    if (!isFleeting) {
      setConfirmed(false);
      return;
    }
    let isOver = false;
    const timer = setTimeout(async () => {
      await model.refreshState();
      if (!isOver) {
        setConfirmed(true);
      }
    }, CONFIRM_AFTER);
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [isFleeting, model]);
  return conditions.filter(condition => !condition.isFleeting || isConfirmed);
}

/** Leave out the hints that a person dismissed, for as long as they stay what they are. */
export function useDismissed(
  conditions: readonly ICondition[]
): [ICondition[], (condition: ICondition) => void] {
  const [dismissed, setDismissed] = useState(readDismissed);
  const dismiss = (condition: ICondition) => {
    const present = new Set(conditions.map(keyOf));
    const keys = [...dismissed.filter(key => present.has(key)), keyOf(condition)];
    remember(MEMORY, JSON.stringify(keys));
    setDismissed(keys);
  };
  return [conditions.filter(condition => !dismissed.includes(keyOf(condition))), dismiss];
}

/** Render again every minute: some conditions come with time alone. */
export function useMinutes(): void {
  const [, again] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    const timer = setInterval(again, 60_000);
    return () => clearInterval(timer);
  }, []);
}

function keyOf({ kind, what, why }: ICondition): string {
  return `${kind}: ${what}: ${why}`;
}

function readDismissed(): string[] {
  try {
    const keys: unknown = JSON.parse(remembered(MEMORY) || '[]');
    return Array.isArray(keys) ? keys.map(String) : [];
  } catch {
    return []; // another version wrote it
  }
}
