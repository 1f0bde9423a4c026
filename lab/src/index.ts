/**
 * The plugins: the drive, and the panel with its commands; nothing else happens here.
 */
import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { ViewModel, type IContext } from './context';
import { resumeDatums } from './datums/resume';
import { addExploreCommands } from './explore/commands';
import { ExploreModel } from './explore/model';
import { addFileCommands } from './files/commands';
import { PfsDrive } from './files/drive';
import { keepPristine } from './files/pristine';
import { DocumentReloader } from './files/reloading';
import { MountModel } from './model';
import { MountPanel, PANEL_ID } from './panel';
import { addPanelCommands } from './panelCommands';
import { PublishModel } from './publish/model';
import { followDefaultImage } from './publish/settings';
import { addStatusItem } from './status/statusbar';

const DOMAIN = 'pachmount-lab';

const drivePlugin: JupyterFrontEndPlugin<void> = {
  id: 'pachmount-lab:drive',
  description: 'The drive through which documents of mounts are opened and saved.',
  autoStart: true,
  activate: (app: JupyterFrontEnd) => {
    const { contents, serverSettings } = app.serviceManager;
    contents.addDrive(new PfsDrive(serverSettings));
  }
};

const panelPlugin: JupyterFrontEndPlugin<void> = {
  id: 'pachmount-lab:panel',
  description: 'The panel of mounts, datums, publishing and settings.',
  autoStart: true,
  optional: [
    ILayoutRestorer,
    ICommandPalette,
    ITranslator,
    IDocumentManager,
    INotebookTracker,
    ISettingRegistry,
    IStatusBar
  ],
  activate: (
    app: JupyterFrontEnd,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null,
    documents: IDocumentManager | null,
    notebooks: INotebookTracker | null,
    settings: ISettingRegistry | null,
    statusBar: IStatusBar | null
  ) => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const context: IContext = {
      model: new MountModel(),
      shown: new ViewModel(),
      explore: new ExploreModel(),
      publish: new PublishModel(notebooks, app.serviceManager.contents),
      trans,
      commands: app.commands,
      contents: app.serviceManager.contents,
      docRegistry: app.docRegistry
    };
    const panel = new MountPanel(context);
    const listed = [...addPanelCommands(app, context), ...addExploreCommands(context)];
    resumeDatums(context);
    addFileCommands(app, context);
    if (documents) {
      followMounts(app, context, documents);
    }
    if (notebooks) {
      keepPristine(notebooks);
    }
    if (settings) {
      void followDefaultImage(settings, context.publish);
    }
    if (statusBar) {
      addStatusItem(statusBar, context);
    }
    const category = trans.__('Pachyderm');
    listed.forEach(item => palette?.addItem({ category, ...item }));
    app.shell.add(panel, 'left', { rank: 600 });
    restorer?.add(panel, PANEL_ID);
  }
};

function followMounts(app: JupyterFrontEnd, context: IContext, documents: IDocumentManager): void {
  const openDocuments = function* () {
    for (const widget of app.shell.widgets('main')) {
      const document = documents.contextForWidget(widget);
      if (document) {
        yield document;
      }
    }
  };
  new DocumentReloader({ ...context, openDocuments });
}

export default [drivePlugin, panelPlugin];
