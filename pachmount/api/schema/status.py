"""`/status`, `/stats` and `/warmups`: what the daemon and its mounts do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pachmount.api.schema.base import ErrorAnswer, Model
from pachmount.api.schema.datums import DatumStatus


class StagedStatus(Model):
    """Staged files and bytes of a read-write mount, and how far its commit is, if one is under way.

    `changed`: whether a name or content differs; what was only deleted or renamed is no file with bytes.
    """

    changed: bool = False
    files: int = 0
    bytes: int = 0
    limit: int = 0
    committing: Literal["", "compare", "upload", "finish"] = ""
    committing_files: int = 0
    committing_total_files: int = 0
    committing_bytes: int = 0
    committing_total_bytes: int = 0


class Counters(Model):
    """The operations of the kernel since the mount was made; `MountStatistics` has more."""

    lookups: int = 0
    listings: int = 0
    reads: int = 0
    read_bytes: int = 0
    errors: int = 0


class Latency(Model):
    """How long something took, in seconds. A percentile is at most 15 % above the exact one; all are 0 for none.

    `buckets`: upper bound and number of each bucket that is not empty.
    """

    count: int = 0
    total: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    max: float = 0.0
    buckets: list[tuple[float, int]] = []


class MountStatistics(Model):
    """What a mount did since it was made, whatever commits it showed.

    `operations` of the kernel by kind, `errors` by errno, `missing`: look-ups of names that do not exist. `read_bytes`
    went to the kernel. Hits and misses count blocks of 1 MiB, each time a read touches one. `requests` made to the
    cluster by method, in sum of content (GetFile, GetFileTAR) and of names (WalkFile, ListFile, InspectFile);
    `fetched_bytes` is content that came with them; `fetch` the time until the first piece of it.
    """

    operations: dict[str, int] = {}
    errors: dict[str, int] = {}
    missing: int = 0
    read_bytes: int = 0
    memory_hits: int = 0
    disk_hits: int = 0
    misses: int = 0
    fetched_bytes: int = 0
    requests: dict[str, int] = {}
    content_requests: int = 0
    listing_requests: int = 0
    requests_in_flight: int = 0
    lookup: Latency = Latency()
    readdir: Latency = Latency()
    read: Latency = Latency()
    fetch: Latency = Latency()


class MountStatus(Model):
    """`note` says why a mount does not show what it might, such as that its branch is gone."""

    name: str
    source: str
    mountpoint: str
    mode: Literal["ro", "rw"]
    state: str
    status: str
    error: ErrorAnswer | None = None
    project: str
    repo: str
    branch: str
    commit: str
    path: str
    latest_commit: str
    behind: int
    follow: bool = False
    note: str = ""
    mounted_at: float
    listing: Literal["loading", "complete", "failed"]
    files: int
    listing_bytes: int
    staged: StagedStatus | None = None
    counters: Counters = Counters()
    statistics: MountStatistics = MountStatistics()


class WarmupStatus(Model):
    """`done_*` counts what is in the cache, `found_*` the part that was there before. Sizes are bytes, times seconds
    since the epoch.
    """

    id: str
    mounts: list[str]
    state: Literal["listing", "fetching", "done", "failed", "cancelled"]
    total_files: int
    total_bytes: int
    done_files: int
    done_bytes: int
    found_files: int
    found_bytes: int
    started: float
    ended: float | None = None
    error: ErrorAnswer | None = None


class WarmupsAnswer(Model):
    warmups: list[WarmupStatus]


class ClusterStatus(Model):
    """`state`: connected, unreachable (since when, why), or none while nothing is configured. `login_expires` is
    seconds since the epoch, None if never or not known.
    """

    state: Literal["connected", "unreachable", "none"]
    address: str
    embedded: bool
    context: str
    version: str = ""
    auth: Literal["off", "logged-in", "logged-out", "unknown"] = "unknown"
    username: str = ""
    login_expires: float | None = None
    unreachable_since: float | None = None
    error: ErrorAnswer | None = None


class CacheStatus(Model):
    """Sizes are bytes; every buffer and queue of the read path with its bound."""

    directory: str
    disk_bytes: int
    disk_limit: int
    disk_blocks: int
    memory_bytes: int
    memory_limit: int
    write_queue: int
    write_queue_limit: int
    dropped_writes: int = 0
    streams: int
    streams_limit: int
    memory_hits: int
    disk_hits: int
    misses: int
    fetched_bytes: int
    listings_bytes: int = 0
    listings_limit: int = 0
    disabled_reason: str = ""


class KeptChanges(Model):
    """Changes that are staged under the name of a mount, which no read-write mount shows.

    `source` is "" if it cannot be read, `bytes` is the room on the disk. `damage` says what is damaged, "" if nothing.
    """

    name: str
    source: str = ""
    files: int = 0
    bytes: int = 0
    damage: str = ""


class PoolStatus(Model):
    """The threads of the daemon for one kind of request: how many of them work, how many requests wait for one."""

    name: str
    running: int
    threads: int
    waiting: int
    waiting_limit: int


class StagedEntry(Model):
    """Changes that are staged under the name of a mount. `source` is `project/repo@branch`, `commit` the one that was
    changed, `cluster` the id of its cluster; "" where nothing tells it. `bytes` is the room on the disk. `mounted`: ""
    if no mount has that name. `commit_state`: "" if that cannot be found out now. `damaged` says why they cannot be
    read.
    """

    name: str
    source: str = ""
    commit: str = ""
    cluster: str = ""
    paths: list[str] = []
    changes: int = 0
    files: int = 0
    bytes: int = 0
    since: float = 0.0
    damaged: str = ""
    mounted: Literal["", "ro", "rw"] = ""
    commit_state: Literal["", "there", "gone", "other cluster"] = ""


class StagedAnswer(Model):
    """All changes that are staged, by name."""

    staged: list[StagedEntry] = []


class StatusAnswer(Model):
    """`unsaved_mounts` says why the next daemon would not know which mounts there are; "" while it does.

    `damaged_files` are lists of mounts that were damaged and set aside.
    """

    version: str
    pid: int
    started: float
    mount_dir: str
    socket: str
    listen: str = ""
    log_file: str
    unsaved_mounts: str = ""
    damaged_files: list[str] = []
    rss_bytes: int
    threads: int
    waiting_requests: int
    waiting_requests_limit: int
    lingering_sessions: int = 0
    follow_streams: int = 0
    follow_streams_limit: int = 0
    waiting_logins: int = 0
    waiting_logins_limit: int = 0
    browsed_commits: int = 0
    browsed_commits_limit: int = 0
    downloads: int = 0
    downloads_limit: int = 0
    pools: list[PoolStatus] = Field(default_factory=list)
    cluster: ClusterStatus
    cache: CacheStatus
    mounts: list[MountStatus] = Field(default_factory=list)
    kept_changes: list[KeptChanges] = []
    warmups: list[WarmupStatus] = Field(default_factory=list)
    datum: DatumStatus | None = None


class NamedMountStatistics(MountStatistics):
    """The statistics of one mount; `behind` counts commits."""

    name: str
    source: str
    state: str
    behind: int


class DaemonStatistics(Model):
    """The process, and what all mounts share. `calls` to the cluster by method, whoever made them, `call_errors` by the
    id of the error; `retries` of calls and of broken reads; `rest_requests` by route, then by HTTP status.
    """

    version: str
    started: float
    uptime_seconds: float
    cpu_seconds: float
    rss_bytes: int
    threads: int
    waiting_requests: int
    waiting_requests_limit: int
    lingering_sessions: int
    cluster_state: Literal["connected", "unreachable", "none"]
    calls: dict[str, int]
    call_errors: dict[str, int]
    call_retries: int
    read_retries: int
    rest_requests: dict[str, dict[str, int]]
    mounts_by_state: dict[str, int]
    cache: CacheStatus


class StatsAnswer(Model):
    """`time` (s since the epoch) is when the figures were taken: two answers make a rate."""

    time: float
    daemon: DaemonStatistics
    mounts: list[NamedMountStatistics]
