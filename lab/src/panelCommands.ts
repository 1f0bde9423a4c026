/** The commands that show the panel and its views. */
import type { JupyterFrontEnd } from '@jupyterlab/application';

import { CommandIDs, VIEWS, type ICommandItem, type IContext, type View } from './context';
import { pachmountIcon } from './icons';
import { PANEL_ID } from './panel';

/** Add the commands; they and their arguments, in the order of the palette. */
export function addPanelCommands(app: JupyterFrontEnd, context: IContext): ICommandItem[] {
  const { shown, trans } = context;
  const describedBy = {
    args: { type: 'object' as const, properties: { view: { type: 'string' as const, enum: [...VIEWS] } } }
  };
  const show = (view: unknown) => {
    if (VIEWS.includes(view as View)) {
      shown.view = view as View;
    }
    app.shell.activateById(PANEL_ID);
  };
  const labels: Record<View, string> = {
    explore: trans.__('Show Explore: Mounts and Repositories'),
    test: trans.__('Show Test: the Datums of a Pipeline'),
    publish: trans.__('Show Publish: a Notebook as a Pipeline'),
    settings: trans.__('Show Settings and Diagnostics')
  };
  app.commands.addCommand(CommandIDs.showPanel, {
    label: trans.__('Show the Pachyderm Panel'),
    caption: trans.__('Mounts, datums, publishing and settings'),
    icon: pachmountIcon,
    describedBy,
    execute: args => show(args.view)
  });
  app.commands.addCommand(CommandIDs.showView, {
    label: args => labels[args.view as View] ?? trans.__('Show a View of the Pachyderm Panel'),
    describedBy,
    execute: args => show(args.view)
  });
  return [
    { command: CommandIDs.showPanel },
    ...VIEWS.map(view => ({ command: CommandIDs.showView, args: { view } }))
  ];
}
