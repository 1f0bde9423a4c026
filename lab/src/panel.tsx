import React from 'react';
import { ReactWidget } from '@jupyterlab/ui-components';
import { SplitPanel } from '@lumino/widgets';

import { useSignal } from './common/signal';
import type { IContext, View } from './context';
import { TestView } from './datums/TestView';
import { ExploreView } from './explore/ExploreView';
import { FileBrowser } from './files/FileBrowser';
import { pachmountIcon } from './icons';
import { PublishView } from './publish/PublishView';
import { SettingsView } from './settings/SettingsView';
import { Banner } from './status/Banner';

export const PANEL_ID = 'pachyderm-mount';

/** The sidebar: tabs, a banner while something is wrong, the view of the tab, and below it the files. */
export class MountPanel extends SplitPanel {
  constructor(private readonly _context: IContext) {
    super({ orientation: 'vertical', spacing: 1 });
    const { shown, trans } = _context;
    this.id = PANEL_ID;
    this.addClass('pach-Panel');
    this.title.icon = pachmountIcon;
    this.title.caption = trans.__('Pachyderm Mount');
    this._files = ReactWidget.create(<FileBrowser {..._context} />);
    this._files.addClass('pach-Panel-files');
    this.addWidget(ReactWidget.create(<Main {..._context} />));
    this.addWidget(this._files);
    this.setRelativeSizes([3, 2]);
    shown.changed.connect(this._onShown, this);
  }

  dispose(): void {
    if (!this.isDisposed) {
      this._context.shown.changed.disconnect(this._onShown, this);
      super.dispose();
    }
  }

  private _onShown(): void {
    const { view } = this._context.shown;
    this._files.setHidden(view === 'publish' || view === 'settings');
  }

  private readonly _files: ReactWidget;
}

const VIEWS: Record<View, (context: IContext) => JSX.Element> = {
  explore: ExploreView,
  test: TestView,
  publish: PublishView,
  settings: SettingsView
};

function Main(context: IContext): JSX.Element {
  const { shown, trans } = context;
  useSignal(shown.changed);
  const Shown = VIEWS[shown.view];
  const labels: Record<View, string> = {
    explore: trans.__('Explore'),
    test: trans.__('Test'),
    publish: trans.__('Publish'),
    settings: trans.__('Settings')
  };
  const views = Object.keys(labels) as View[];

  const onKeyDown = (event: React.KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) {
      const next = views[(views.indexOf(shown.view) + step + views.length) % views.length];
      shown.view = next;
      document.getElementById(`pach-tab-${next}`)?.focus();
    }
  };

  return (
    <div className="pach-Main">
      <div role="tablist" aria-label={trans.__('Views')} className="pach-Tabs" onKeyDown={onKeyDown}>
        {views.map(view => (
          <button
            key={view}
            type="button"
            role="tab"
            id={`pach-tab-${view}`}
            className={`pach-Tabs-tab pachyderm-${view === 'settings' ? 'config' : view}-tab`}
            aria-selected={view === shown.view}
            aria-controls="pach-view"
            tabIndex={view === shown.view ? 0 : -1}
            onClick={() => (shown.view = view)}
          >
            {labels[view]}
          </button>
        ))}
      </div>
      <Banner {...context} />
      <div
        role="tabpanel"
        id="pach-view"
        aria-labelledby={`pach-tab-${shown.view}`}
        className="pach-Main-view"
      >
        <Shown {...context} />
      </div>
    </div>
  );
}
