import React, { useRef, useState } from 'react';

import type { AtUnmount, IClusterStatus } from '../api';
import { ErrorMessage } from '../common/Message';
import type { IContext } from '../context';
import { connect, stagedFiles, type Cluster } from './actions';
import { AddressForm } from './AddressForm';
import { StagedQuestion } from './Question';
import { Fact, Section } from './Section';
import { useTask } from './task';

/** Which cluster is in use, and a form to use another one. */
export function ClusterSection({ model, trans }: IContext): JSX.Element | null {
  const [editing, setEditing] = useState(false);
  /** Waits for what shall become of staged changes. */
  const [wanted, setWanted] = useState<Cluster | null>(null);
  const [invalid, setInvalid] = useState(false);
  const change = useRef<HTMLButtonElement>(null);
  const task = useTask();
  const cluster = model.status?.cluster;
  if (!cluster) {
    return null;
  }

  const go = async (target: Cluster, staged: AtUnmount) => {
    setWanted(null);
    setInvalid(false);
    let isCluster = false;
    await task.run(async () => {
      isCluster = await connect(model, target, staged);
      setInvalid(!isCluster);
    });
    if (isCluster) {
      setEditing(false);
      change.current?.focus();
    }
  };
  // what is staged after this moment is kept: nobody was asked about it
  const choose = (target: Cluster) => (stagedFiles(model) > 0 ? setWanted(target) : void go(target, 'keep'));
  const cancel = () => {
    setEditing(false);
    setWanted(null);
    setInvalid(false);
    task.forget();
  };
  const isOpen = editing || cluster.state === 'none';

  return (
    <Section title={trans.__('Cluster')}>
      <ClusterFacts trans={trans} cluster={cluster} />
      {isOpen && (
        <AddressForm
          trans={trans}
          busy={task.busy || wanted !== null}
          onSubmit={choose}
          onCancel={cluster.state === 'none' ? undefined : cancel}
        />
      )}
      {wanted && (
        <StagedQuestion
          trans={trans}
          files={stagedFiles(model)}
          onAnswer={staged => void go(wanted, staged)}
          onCancel={() => setWanted(null)}
        />
      )}
      {invalid && (
        <div className="pach-Message jp-mod-error" role="alert" data-testid="Config__invalidAddress">
          {trans.__('Invalid address.')}
        </div>
      )}
      {task.error && <ErrorMessage trans={trans} error={task.error} testId="Config__errorMessage" />}
      <div className="pach-Settings-actions">
        <button
          ref={change}
          type="button"
          className="pach-Button"
          data-testid="Config__pachdAddressUpdate"
          hidden={isOpen}
          onClick={() => setEditing(true)}
        >
          {trans.__('Change Address')}
        </button>
        {!(cluster.embedded && cluster.state === 'connected') && (
          <button
            type="button"
            className="pach-Button"
            data-testid="Config__useEmbedded"
            disabled={task.busy || wanted !== null}
            onClick={() => choose({ embedded: true })}
          >
            {trans.__('Use the Embedded Server')}
          </button>
        )}
      </div>
    </Section>
  );
}

function ClusterFacts({
  trans,
  cluster
}: {
  trans: IContext['trans'];
  cluster: IClusterStatus;
}): JSX.Element {
  const words: Record<IClusterStatus['state'], string> = {
    connected: trans.__('connected'),
    unreachable: trans.__('does not answer'),
    none: trans.__('none is configured')
  };
  return (
    <>
      <dl className="pach-Facts">
        {cluster.address && (
          <Fact
            name={trans.__('Address')}
            value={cluster.embedded ? trans.__('the embedded server') : cluster.address}
            title={cluster.address}
            testId="Config__pachdAddress"
          />
        )}
        <Fact name={trans.__('State')} value={words[cluster.state]} testId="Config__clusterState" />
        {cluster.version && <Fact name={trans.__('Version')} value={cluster.version} />}
      </dl>
      {cluster.error && (
        <ErrorMessage trans={trans} error={{ ...cluster.error, what: cluster.error.error }} />
      )}
    </>
  );
}
