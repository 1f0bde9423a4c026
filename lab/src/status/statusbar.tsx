import React from 'react';
import { TextItem, type IStatusBar } from '@jupyterlab/statusbar';
import { ReactWidget } from '@jupyterlab/ui-components';

import { useSignal } from '../common/signal';
import { CommandIDs, type IContext } from '../context';
import { summaryOf } from './summary';

/** Show in the status bar what is mounted and what is under way; a click opens the panel. */
export function addStatusItem(statusBar: IStatusBar, context: IContext): void {
  const { model, trans } = context;
  const item = ReactWidget.create(<StatusItem {...context} />);
  item.addClass('pach-Status');
  statusBar.registerStatusItem('pachmount-lab:panel', {
    item,
    align: 'left',
    rank: 100,
    isActive: () => summaryOf(trans, model.state) !== null,
    activeStateChanged: model.changed
  });
}

export function StatusItem({ model, commands, trans }: IContext): JSX.Element | null {
  useSignal(model.changed);
  const summary = summaryOf(trans, model.state);
  return (
    summary && (
      <button
        type="button"
        className="pach-Status-button"
        data-testid="StatusBar__item"
        title={summary.title}
        onClick={() => commands.execute(CommandIDs.showPanel)}
      >
        <TextItem source={summary.text} />
      </button>
    )
  );
}
