/** What a view gets, for tests. */
import type { Contents } from '@jupyterlab/services';
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';

import { ViewModel, type IContext } from '../context';
import { ExploreModel } from '../explore/model';
import { MountModel } from '../model';
import { PublishModel } from '../publish/model';

/** A context with a real model that polls only when told to. */
export function someContext(): IContext {
  return {
    model: new MountModel({ auto: false }),
    shown: new ViewModel(),
    explore: new ExploreModel(),
    publish: new PublishModel(null, { driveName: () => '', localPath: path => path }),
    trans: nullTranslator.load('pachmount-lab'),
    commands: new CommandRegistry(),
    contents: {} as Contents.IManager
  };
}
