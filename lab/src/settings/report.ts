/** The checks as a text for a bug report: in English, whatever the language of the page. */
import type { ICheck, IServerState } from '../api';

export function reportOf(checks: readonly ICheck[], state: IServerState | null): string {
  const status = state?.status;
  const head = [
    `pachmount ${status?.version ?? state?.version ?? 'unknown'}, daemon ${state?.daemon ?? 'unknown'}`,
    `cluster: ${status ? `${status.cluster.state}, version ${status.cluster.version || 'unknown'}` : 'unknown'}`,
    `browser: ${navigator.userAgent}`
  ];
  const lines = checks.map(({ verdict, name, found, advice }) => {
    const line = `${verdict.padEnd(8)} ${name}: ${found}`;
    return advice ? `${line}\n${' '.repeat(8)} → ${advice}` : line;
  });
  return [...head, '', ...lines].join('\n') + '\n';
}
