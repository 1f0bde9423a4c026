/** What a view gets, for tests. */
import type { Contents } from '@jupyterlab/services';
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';

import { ViewModel, type IContext } from '../context';
import { ExploreModel } from '../explore/model';
import { MAX_POLL_INTERVAL, MountModel } from '../model';
import { PublishModel } from '../publish/model';

const models: MountModel[] = [];

// a model that went on polling would ask the fake server of the next test
afterEach(() => models.splice(0).forEach(model => model.dispose()));

/** A real model that polls when told to, and by itself only after as long as no test takes. */
export function someModel(): MountModel {
  const model = new MountModel({ auto: false, interval: MAX_POLL_INTERVAL });
  models.push(model);
  return model;
}

export function someContext(): IContext {
  return {
    model: someModel(),
    shown: new ViewModel(),
    explore: new ExploreModel(),
    publish: new PublishModel(null, { driveName: () => '', localPath: path => path }),
    trans: nullTranslator.load('pachmount-lab'),
    commands: new CommandRegistry(),
    contents: {} as Contents.IManager
  };
}
