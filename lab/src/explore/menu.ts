/** The menu of a row of a mount: all that can be done with it, as commands. */
import { PlainMenu } from '../common/menu';
import { CommandIDs, type IContext } from '../context';

const SECTIONS = [
  [CommandIDs.openMount, CommandIDs.updateMount, CommandIDs.followBranch],
  [CommandIDs.commitMount, CommandIDs.makeReadWrite, CommandIDs.makeReadOnly],
  [CommandIDs.copyPath, CommandIDs.copySnippet],
  [CommandIDs.warmUp, CommandIDs.cancelWarmup],
  [CommandIDs.unmount]
];

/** The other half of a pair that one mount never has both of. */
const ALTERNATIVES = [
  [CommandIDs.makeReadWrite, CommandIDs.makeReadOnly],
  [CommandIDs.warmUp, CommandIDs.cancelWarmup]
];

export class MountMenu {
  constructor(private readonly _context: IContext) {
    this._menu = new PlainMenu({ commands: _context.commands });
    this._menu.addClass('pach-Mounts-menu');
    this._menu.aboutToClose.connect(this._giveBackFocus, this);
  }

  /** Open the menu below the button of a row. */
  open(name: string, button: HTMLElement): void {
    const { commands } = this._context;
    const args = { name };
    const hidden = ALTERNATIVES.map(pair => pair.find(id => !commands.isEnabled(id, args)));
    this._menu.clearItems();
    SECTIONS.forEach((ids, index) => {
      if (index > 0) {
        this._menu.addItem({ type: 'separator' });
      }
      ids.filter(id => !hidden.includes(id)).forEach(command => this._menu.addItem({ command, args }));
    });
    this._button = button;
    const { left, bottom } = button.getBoundingClientRect();
    this._menu.open(left, bottom);
  }

  dispose(): void {
    this._menu.dispose();
  }

  private _giveBackFocus(): void {
    this._button?.focus();
  }

  private readonly _menu: PlainMenu;
  private _button: HTMLElement | null = null;
}
