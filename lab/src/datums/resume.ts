import type { IContext } from '../context';
import type { MountModel } from '../model';

/** Begin with the Test view if a datum is shown when the first poll is answered; later nobody is taken anywhere. */
export function resumeDatums({ model, shown }: Pick<IContext, 'model' | 'shown'>): void {
  const look = (sender: MountModel) => {
    if (sender.status) {
      sender.changed.disconnect(look);
      if (sender.status.datum && shown.view === 'explore') {
        shown.view = 'test';
      }
    }
  };
  model.changed.connect(look);
}
