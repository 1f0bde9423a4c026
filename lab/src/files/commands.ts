/** The commands with which others show directories and open files of the drive. */
import type { JupyterFrontEnd } from '@jupyterlab/application';

import { CommandIDs, type IContext } from '../context';
import { globalPath } from './path';

const ARGS = {
  args: { type: 'object' as const, properties: { path: { type: 'string' as const } } }
};

export function addFileCommands(app: JupyterFrontEnd, { shown, trans }: IContext): void {
  app.commands.addCommand(CommandIDs.browse, {
    label: trans.__('Show a Directory of Pachyderm Data'),
    describedBy: ARGS,
    execute: args => {
      shown.directory = String(args.path ?? '');
      return app.commands.execute(CommandIDs.showPanel);
    }
  });
  app.commands.addCommand(CommandIDs.openFile, {
    label: trans.__('Open a File of Pachyderm Data'),
    describedBy: ARGS,
    execute: args => app.commands.execute('docmanager:open', { path: globalPath(String(args.path ?? '')) })
  });
}
