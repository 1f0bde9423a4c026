import type { ISettingRegistry } from '@jupyterlab/settingregistry';

import type { PublishModel } from './model';

const PLUGIN = 'pachmount-lab:panel';

/** Let notebooks without an image get the one of the settings, now and whenever it changes. */
export async function followDefaultImage(registry: ISettingRegistry, publish: PublishModel): Promise<void> {
  const settings = await registry.load(PLUGIN);
  const take = () => (publish.defaultImage = settings.get('defaultPipelineImage').composite as string);
  settings.changed.connect(take);
  take();
}
