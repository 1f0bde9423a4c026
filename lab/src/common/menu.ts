import { Menu } from '@lumino/widgets';

/** A menu as Lumino has it, but that its separators are told as such: they are neither for the keyboard nor empty items. */
export class PlainMenu extends Menu {
  constructor(options: Menu.IOptions) {
    super({ renderer: new Renderer(), ...options });
  }
}

class Renderer extends Menu.Renderer {
  renderItem(data: Menu.IRenderData): ReturnType<Menu.Renderer['renderItem']> {
    const element = super.renderItem(data);
    if (data.item.type === 'separator') {
      const attributes = element.attrs as { role?: string; tabindex?: string };
      attributes.role = 'separator';
      delete attributes.tabindex;
    }
    return element;
  }
}
