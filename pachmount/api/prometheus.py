"""The figures of `GET /stats` as text for Prometheus (exposition format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pachmount.api import schema

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = tuple(
    step * 10**power / 1e9 for power in range(3, 11) for step in (10, 25, 50) if step * 10**power <= 100 * 10**9
)
"""Upper bounds of the histograms' buckets in seconds, 10 µs to 100 s; each is one of those that are recorded."""

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]
"""What is appended to the name, the labels, the value."""


@dataclass(frozen=True)
class Family:
    """One metric: all its samples stand together below its help and type."""

    name: str
    kind: str
    help: str
    samples: Iterable[Sample]

    def lines(self) -> Iterator[str]:
        samples = list(self.samples)
        if samples:
            yield f"# HELP {self.name} {self.help}"
            yield f"# TYPE {self.name} {self.kind}"
        for suffix, labels, value in samples:
            inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            yield f"{self.name}{suffix}" + (f"{{{inside}}} " if inside else " ") + _number(value)


def text(answer: schema.StatsAnswer) -> str:
    """The whole page."""
    families = [*_daemon(answer.daemon), *_cache(answer.daemon.cache), *_mounts(answer.mounts)]
    return "".join(f"{line}\n" for family in families for line in family.lines())


def _daemon(daemon: schema.DaemonStatistics) -> Iterator[Family]:
    yield _gauge("info", "The version that runs; always 1.", [("", {"version": daemon.version}, 1)])
    yield _gauge("start_time_seconds", "When the daemon was started, since the epoch.", _one(daemon.started))
    yield _gauge("uptime_seconds", "How long the daemon has been running.", _one(daemon.uptime_seconds))
    yield _counter("cpu_seconds_total", "CPU time that the daemon has used.", _one(daemon.cpu_seconds))
    yield _gauge("resident_memory_bytes", "Memory of the daemon.", _one(daemon.rss_bytes))
    yield _gauge("threads", "Threads of the daemon.", _one(daemon.threads))
    yield _gauge("waiting_operations", "File operations that wait for the cluster.", _one(daemon.waiting_requests))
    limit = daemon.waiting_requests_limit
    yield _gauge("waiting_operations_limit", "How many file operations may wait for the cluster.", _one(limit))
    yield _gauge("lingering_sessions", "Replaced mounts with open files.", _one(daemon.lingering_sessions))
    yield _gauge("cluster_up", "Whether the cluster answers.", _one(daemon.cluster_state == "connected"))
    yield _counter("cluster_calls_total", "Calls made to the cluster.", _each("method", daemon.calls))
    errors = _each("error", daemon.call_errors)
    yield _counter("cluster_call_errors_total", "Calls to the cluster that failed, by the id of the error.", errors)
    retries = _each("kind", {"call": daemon.call_retries, "read": daemon.read_retries})
    yield _counter("retries_total", "Calls made again and reads begun again after a fault.", retries)
    rest = [
        ("", {"route": route, "status": status}, count)
        for route, counts in daemon.rest_requests.items()
        for status, count in counts.items()
    ]
    yield _counter("rest_requests_total", "Requests to the REST API.", rest)
    yield _gauge("mounts", "Mounts by state.", _each("state", daemon.mounts_by_state))


def _cache(cache: schema.CacheStatus) -> Iterator[Family]:
    yield _gauge("transfers", "Content streams that are open.", _one(cache.streams))
    yield _gauge("transfers_limit", "How many content streams may be open.", _one(cache.streams_limit))
    layers = {"memory": cache.memory_bytes, "disk": cache.disk_bytes}
    yield _gauge("cache_bytes", "Size of the block cache.", _each("layer", layers))
    limits = {"memory": cache.memory_limit, "disk": cache.disk_limit}
    yield _gauge("cache_limit_bytes", "Limit of the block cache.", _each("layer", limits))
    yield _gauge("cache_disk_blocks", "Blocks on disk.", _one(cache.disk_blocks))
    yield _gauge("cache_write_queue_blocks", "Blocks that wait to be written to the disk.", _one(cache.write_queue))
    hits = {"memory": cache.memory_hits, "disk": cache.disk_hits}
    yield _counter("cache_hits_total", "Blocks found in the cache.", _each("layer", hits))
    yield _counter("cache_misses_total", "Blocks not found in the cache.", _one(cache.misses))
    yield _counter("fetched_bytes_total", "Bytes of content that ended transfers brought.", _one(cache.fetched_bytes))
    yield _gauge("cache_disk_up", "Whether the cache on disk can be used.", _one(not cache.disabled_reason))


def _mounts(mounts: list[schema.NamedMountStatistics]) -> Iterator[Family]:
    def each(field: str) -> list[Sample]:
        return [("", {"mount": mount.name}, getattr(mount, field)) for mount in mounts]

    def by(label: str, field: str) -> list[Sample]:
        return [s for mount in mounts for s in _each(label, getattr(mount, field), mount=mount.name)]

    def times(mount: schema.NamedMountStatistics) -> list[tuple[str, schema.Latency]]:
        return [("lookup", mount.lookup), ("readdir", mount.readdir), ("read", mount.read)]

    operations = "File operations that the kernel asked for."
    yield _counter("mount_operations_total", operations, by("operation", "operations"))
    yield _counter("mount_errors_total", "File operations answered with an error.", by("errno", "errors"))
    yield _counter("mount_missing_total", "Look-ups of names that do not exist.", each("missing"))
    yield _counter("mount_read_bytes_total", "Bytes handed to the kernel.", each("read_bytes"))
    hits = [
        sample
        for mount in mounts
        for sample in _each("layer", {"memory": mount.memory_hits, "disk": mount.disk_hits}, mount=mount.name)
    ]
    yield _counter("mount_cache_hits_total", "Blocks that reads found in the cache.", hits)
    yield _counter("mount_cache_misses_total", "Blocks that reads did not find in the cache.", each("misses"))
    yield _counter("mount_fetched_bytes_total", "Bytes of content from the cluster.", each("fetched_bytes"))
    yield _counter("mount_requests_total", "Requests to the cluster.", by("method", "requests"))
    yield _gauge("mount_requests_in_flight", "Requests to the cluster under way.", each("requests_in_flight"))
    yield _gauge("mount_behind_commits", "Commits of the branch after the mounted one.", each("behind"))
    durations = [
        sample
        for mount in mounts
        for name, latency in times(mount)
        for sample in _histogram(latency, {"mount": mount.name, "operation": name})
    ]
    yield Family("pachmount_mount_operation_seconds", "histogram", "How long file operations took.", durations)
    fetches = [sample for mount in mounts for sample in _histogram(mount.fetch, {"mount": mount.name})]
    help_text = "How long the first piece of a content request took."
    yield Family("pachmount_mount_fetch_seconds", "histogram", help_text, fetches)


def _gauge(name: str, help_text: str, samples: Iterable[Sample]) -> Family:
    return Family(f"pachmount_{name}", "gauge", help_text, samples)


def _counter(name: str, help_text: str, samples: Iterable[Sample]) -> Family:
    return Family(f"pachmount_{name}", "counter", help_text, samples)


def _one(value: float) -> list[Sample]:
    return [("", {}, value)]


def _each(label: str, values: Mapping[str, float], **labels: str) -> list[Sample]:
    return [("", {**labels, label: name}, value) for name, value in values.items()]


def _histogram(latency: schema.Latency, labels: Labels) -> Iterator[Sample]:
    for bound in BUCKETS:
        below = sum(count for upper, count in latency.buckets if upper <= bound)
        yield "_bucket", {**labels, "le": repr(bound)}, below
    yield "_bucket", {**labels, "le": "+Inf"}, latency.count
    yield "_sum", labels, latency.total
    yield "_count", labels, latency.count


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
