/**
 * The context menu of an entry, or of the directory itself where no entry is below the pointer.
 */
import { CommandRegistry } from '@lumino/commands';

import type { IEntry } from '../api';
import { PlainMenu } from '../common/menu';
import type { BrowserModel } from './browser';
import { baseName, fileUri, isList, pathInMainBrowser, realPath } from './path';
import { codeSnippet } from './snippet';

/** JupyterLab's own command that shows a path in its file browser. */
const GO_TO_PATH = 'filebrowser:go-to-path';

interface IMenuItem {
  id: string;
  label: string;
  isVisible: (entry: IEntry, isEntry: boolean) => boolean;
  execute: (entry: IEntry) => unknown;
}

export class FilesMenu {
  /** `chooseFiles` lets the user choose files to be uploaded; `onClose` gets the focus back. */
  constructor(
    private readonly _browser: BrowserModel,
    chooseFiles: () => void,
    onClose: () => void
  ) {
    this.menu = new PlainMenu({ commands: this._commands });
    this.menu.addClass('pach-Files-menu');
    this.menu.aboutToClose.connect(onClose);
    this._sections(chooseFiles).forEach((items, index) => {
      if (index > 0) {
        this.menu.addItem({ type: 'separator' });
      }
      items.forEach(item => this._add(item));
    });
  }

  readonly menu: PlainMenu;

  open(entry: IEntry | null, x: number, y: number): void {
    this._entry = entry;
    this.menu.open(x, y);
  }

  dispose(): void {
    this.menu.dispose();
  }

  private _add({ id, label, isVisible, execute }: IMenuItem): void {
    const command = `pachmount:files-${id}`;
    this._commands.addCommand(command, {
      label,
      isVisible: () => isVisible(this._entry ?? this._directory(), this._entry !== null),
      execute: () => execute(this._entry ?? this._directory()),
      describedBy: { args: { type: 'object', properties: {} } }
    });
    this.menu.addItem({ command });
  }

  private _sections(chooseFiles: () => void): IMenuItem[][] {
    const browser = this._browser;
    const { trans, model, commands } = browser.context;
    const real = (entry: IEntry) => realPath(model.state, entry.path);
    const uri = (entry: IEntry) => fileUri(model.state, entry.path);
    const main = (entry: IEntry) => pathInMainBrowser(model.state, entry.path);
    const isWritable = () => browser.listing.writable;
    return [
      [
        {
          id: 'open',
          label: trans.__('Open'),
          isVisible: (_, isEntry) => isEntry,
          execute: entry => browser.open(entry)
        },
        {
          id: 'download',
          label: trans.__('Download'),
          isVisible: entry => entry.type !== 'directory',
          execute: entry => browser.actions.download(entry)
        },
        {
          id: 'download-zip',
          label: trans.__('Download as zip'),
          isVisible: entry => entry.type === 'directory' && !isList(entry.path),
          execute: entry => browser.actions.downloadZip(entry)
        }
      ],
      [
        {
          id: 'copy-path',
          label: trans.__('Copy Path'),
          isVisible: entry => real(entry) !== '',
          execute: entry => browser.actions.copy(real(entry))
        },
        {
          id: 'copy-uri',
          label: trans.__('Copy Pachyderm File URI'),
          isVisible: entry => uri(entry) !== '',
          execute: entry => browser.actions.copy(uri(entry))
        },
        {
          id: 'copy-snippet',
          label: trans.__('Copy Code Snippet'),
          isVisible: entry => real(entry) !== '',
          execute: entry => browser.actions.copy(codeSnippet(real(entry), entry.type === 'directory'))
        }
      ],
      [
        {
          id: 'show-in-main',
          label: trans.__('Show in the Main File Browser'),
          isVisible: entry => main(entry) !== null && commands.hasCommand(GO_TO_PATH),
          execute: entry => commands.execute(GO_TO_PATH, { path: main(entry) })
        }
      ],
      [
        { id: 'upload', label: trans.__('Upload…'), isVisible: isWritable, execute: chooseFiles },
        {
          id: 'new-folder',
          label: trans.__('New Folder'),
          isVisible: isWritable,
          execute: () => browser.newFolder()
        }
      ],
      [
        {
          id: 'rename',
          label: trans.__('Rename'),
          isVisible: (_, isEntry) => isEntry && isWritable(),
          execute: entry => browser.startRenaming(entry)
        },
        {
          id: 'delete',
          label: trans.__('Delete'),
          isVisible: (_, isEntry) => isEntry && isWritable(),
          execute: entry => browser.actions.remove(entry)
        }
      ]
    ];
  }

  /** The directory that is shown, as an entry. */
  private _directory(): IEntry {
    const { path, writable } = this._browser.listing;
    return { name: baseName(path), path, type: 'directory', writable, last_modified: null, size: null };
  }

  private readonly _commands = new CommandRegistry();
  private _entry: IEntry | null = null;
}
