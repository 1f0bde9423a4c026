"""`stats`: what the daemon and the mounts did so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pachmount.cli import options as opt
from pachmount.cli import output, watching
from pachmount.cli.state import State

if TYPE_CHECKING:
    from pachmount.api.schema import DaemonStatistics, NamedMountStatistics, StatsAnswer

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Mounts; default: all.", show_default=False)]


def stats(
    state: State, names: Names = None, watch: opt.Watch = False, interval: opt.Interval = 2.0, as_json: opt.Json = False
) -> None:
    """Show what mounts did: operations, cache hits, requests, times.

    \b
    Examples:
      pachmount stats
      pachmount stats --watch --interval 5
      pachmount stats images --json | jq '.mounts[0].content_requests'

    Read and fetched are bytes handed to programs and from the cluster, hits the part of the blocks that was cached.
    With --watch all figures are a second; P50 and P99 are how long reads took. With --json it prints a line each time.
    """
    if watch:
        (watching.watch_json if as_json else watching.watch)(state, names or [], interval)
        return
    answer = state.client().stats(names or [])
    if as_json:
        output.json_answer(answer)
        return
    _daemon(answer.daemon)
    output.line("")
    if not answer.mounts:
        output.line("nothing is mounted")
        return
    _work(answer.mounts)
    _latencies(answer)


def _daemon(daemon: DaemonStatistics) -> None:
    cache, calls = daemon.cache, sum(daemon.calls.values())
    output.line(f"up {output.duration(daemon.uptime_seconds)}", "green")
    threads = output.count(daemon.threads, "thread")
    output.line(f"  process  {daemon.cpu_seconds:.1f} s of CPU time, {output.size(daemon.rss_bytes)}, {threads}")
    failed = output.count(sum(daemon.call_errors.values()), "failure")
    retries = output.count(daemon.call_retries + daemon.read_retries, "retry", "retries")
    output.line(f"  cluster  {daemon.cluster_state}, {output.count(calls, 'call')}, {failed}, {retries}")
    memory, disk = output.size(cache.memory_bytes), output.size(cache.disk_bytes)
    output.line(f"  cache    {memory} in memory, {disk} on disk, {output.size(cache.fetched_bytes)} fetched")
    waiting = output.count(daemon.waiting_requests, "operation")
    output.line(f"  now      {output.count(cache.streams, 'transfer')}, {waiting} waiting for the cluster")


def _work(mounts: list[NamedMountStatistics]) -> None:
    header = ["NAME", "LOOK-UPS", "READDIRS", "READS", "READ", "HITS", "FETCHED", "REQUESTS", "IN FLIGHT", "ERRORS"]
    rows = [
        [
            mount.name,
            *(f"{mount.operations.get(kind, 0):,}" for kind in ("lookup", "readdir", "read")),
            output.size(mount.read_bytes),
            watching.hit_rate(mount.memory_hits + mount.disk_hits, mount.misses),
            output.size(mount.fetched_bytes),
            f"{mount.content_requests + mount.listing_requests:,}",
            f"{mount.requests_in_flight:,}",
            _errors(mount.errors),
        ]
        for mount in mounts
    ]
    output.table(header, rows)


def _latencies(answer: StatsAnswer) -> None:
    rows = []
    for mount in answer.mounts:
        kinds = {"look-up": mount.lookup, "readdir": mount.readdir, "read": mount.read, "first piece": mount.fetch}
        for kind, times in kinds.items():
            if times.count:
                rows.append([mount.name, kind, *map(output.latency, (times.p50, times.p90, times.p99, times.max))])
    if rows:
        output.line("")
        output.table(["NAME", "LATENCY", "P50", "P90", "P99", "MAX"], rows)


def _errors(errors: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in errors.items()) or "0"
