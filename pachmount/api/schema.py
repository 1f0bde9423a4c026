"""Every request and answer of the REST API as pydantic models, shared by the daemon, the CLI and the lab extension.

Names and shapes of the compatible routes are those of the original mount server (2.6.4, with the fields that 2.8 and
2.9 renamed beside them); `/status`, `/stats`, `/_refresh`, `/_remount`, `/_follow`, `/_diff`, `/_discard`, `/warmups`,
`/_warmup`, `/_warmup_cancel`, `/branches`, `/commits` and `/files` are ours.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

CLIENT_HEADER = "X-Pachmount-Client"
"""A request with this header gets errors as an ErrorAnswer in JSON instead of plain text."""

AtUnmount = Literal["commit", "discard", "keep"]
"""What becomes of staged changes when their mount ends."""


class Model(BaseModel):
    model_config = ConfigDict(extra="ignore", defer_build=True)


class Request(Model):
    """Decoded as the original does: unknown keys ignored, keys matched without regard to case, null = default."""

    @model_validator(mode="before")
    @classmethod
    def _lenient(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {name.lower(): name for name in cls.model_fields}
        return {known[key.lower()]: value for key, value in data.items() if key.lower() in known and value is not None}


class MountEntry(Request):
    """One mount to make. Ours: `mountpoint` puts it at a directory of the user's instead of the mount directory,
    `follow` moves it along with its branch.
    """

    name: str = ""
    project: str = ""
    repo: str = ""
    branch: str = ""
    commit: str = ""
    files: list[str] = []
    paths: list[str] = []
    path: str = ""
    mode: str = ""
    mountpoint: str = ""
    follow: bool = False


class MountRequest(Request):
    mounts: list[MountEntry | None] = []


class UnmountRequest(Request):
    """`staged` and `message` are ours: what becomes of staged changes, and the message of their commit."""

    mounts: list[str] = []
    staged: AtUnmount = "commit"
    message: str = ""


class RefreshEntry(Request):
    """`commit`: an id, a branch or an ancestry such as `master^`; empty = the newest commit of the mounted branch."""

    name: str = ""
    commit: str = ""


class RefreshRequest(Request):
    mounts: list[RefreshEntry] = []


class RemountRequest(Request):
    """Mounts that are read-only or read-write from now on."""

    mounts: list[str] = []
    mode: Literal["ro", "rw"] = "ro"


class FollowRequest(Request):
    """`follow`: whether these mounts move along with their branches from now on."""

    mounts: list[str] = []
    follow: bool = True


class CommitRequest(Request):
    """Ours: everything but `mount`. `branch`: commit to this branch; `ours`: over newer versions of the files;
    `theirs`: paths at which newer versions take the place of what is staged.
    """

    mount: str = ""
    message: str = ""
    branch: str = ""
    allow_open: bool = False
    skip_invalid: bool = False
    ours: bool = False
    theirs: list[str] = []


class DiffRequest(Request):
    """Paths as in DiscardRequest; `patch`: also tell the changes line by line."""

    mount: str = ""
    paths: list[str] = []
    patch: bool = False


class DiscardRequest(Request):
    """Paths in the mount, with or without a leading slash; none = everything that is staged."""

    mount: str = ""
    paths: list[str] = []


class ConfigRequest(Request):
    """Ours: `context` of pachctl's file to use, or `embedded` for the embedded server; `token` to store in the new
    context; what becomes of changes that are `staged` on the former cluster.
    """

    pachd_address: str = ""
    server_cas: str = ""
    embedded: bool = False
    context: str = ""
    token: str = ""
    staged: AtUnmount = "commit"


class LoginTokenRequest(Request):
    """`oidc` is the state of a login in the browser; `id_token` (ours) one of an OIDC provider."""

    oidc: str = ""
    id_token: str = ""


class LogoutRequest(Request):
    """Ours: what becomes of staged changes."""

    staged: AtUnmount = "commit"


class WarmupEntry(Request):
    """Paths of one mount to bring into the cache; none = everything."""

    name: str = ""
    paths: list[str] = []


class WarmupRequest(Request):
    mounts: list[WarmupEntry] = []


class WarmupCancelRequest(Request):
    id: str = ""


class ErrorAnswer(Model):
    id: str
    error: str
    why: str = ""
    hint: str = ""


class HealthAnswer(Model):
    status: Literal["running"] = "running"


class ConfigAnswer(Model):
    cluster_status: Literal["INVALID", "AUTH_DISABLED", "AUTH_ENABLED"]
    pachd_address: str


class LoginAnswer(Model):
    """Where to log in, and what to wait for."""

    auth_url: str
    oidc_state: str


class PachctlContexts(Model):
    """A part of pachctl's file; the keys of a context are pachctl's."""

    active_context: str
    contexts: dict[str, dict[str, Any]]
    metrics: bool = True


class ContextAnswer(Model):
    """pachctl's file with the context in use alone, its session token included."""

    user_id: str = ""
    v2: PachctlContexts


class DatumsAnswer(Model):
    """Which datum is shown, in the words of all versions."""

    num_datums: int = 0
    input: dict[str, Any] | None = None
    curr_idx: int = 0
    idx: int = 0
    all_datums_received: bool = False


class DatumAnswer(Model):
    """The datum that is shown now. `num_datums` counts those received so far until all are."""

    id: str
    idx: int
    num_datums: int
    all_datums_received: bool


class DatumFileAnswer(Model):
    """A file or directory of a datum: `/pfs/<input><path>` in a pipeline."""

    input: str
    project: str
    repo: str
    branch: str
    commit: str
    path: str
    type: Literal["file", "dir"]
    size_bytes: int
    hash: str


class DatumEntry(Model):
    idx: int
    id: str
    files: list[DatumFileAnswer]


class DatumPageAnswer(Model):
    """`next` is the `start` of the following page, None at the end of what is known."""

    datums: list[DatumEntry]
    next: int | None
    num_datums: int
    all_datums_received: bool


class RepoAnswer(Model):
    project: str
    repo: str
    branches: list[str] | None
    authorization: Literal["off", "none", "read", "write"]


class MountAnswer(Model):
    """The state of one mount: the union of the fields of the original's versions."""

    name: str
    project: str
    repo: str
    branch: str
    commit: str
    files: list[str] | None = None
    paths: list[str] = ["/"]
    path: str = ""
    mode: Literal["ro", "rw"]
    state: str
    status: str
    mountpoint: str
    actual_mounted_commit: str
    latest_commit: str
    how_many_commits_behind: int
    follow: bool = False


class MountsAnswer(Model):
    mounted: list[MountAnswer]
    unmounted: list[RepoAnswer]


class CommittedAnswer(MountsAnswer):
    """For our own clients: the commit that was made of so many changes; "" if there was nothing to commit."""

    commit: str = ""
    changes: int = 0


class ProjectName(Model):
    name: str


class ProjectAnswer(Model):
    """Left out when empty: everything but `project`."""

    project: ProjectName
    description: str | None = None
    auth_info: dict[str, Any] | None = None
    created_at: dict[str, int] | None = None


class BranchAnswer(Model):
    project: str
    repo: str
    branch: str
    head: str


class CommitAnswer(Model):
    """Times are seconds since the epoch."""

    project: str
    repo: str
    commit: str
    branch: str
    parent: str
    description: str
    started: float | None
    finished: float | None
    state: Literal["open", "finishing", "finished"]
    error: str
    size_bytes: int


class FileAnswer(Model):
    """`hash` is hex. A directory's size is the sum of what is below it."""

    path: str
    type: Literal["file", "dir"]
    size_bytes: int
    hash: str


class FilesAnswer(Model):
    """A page of a directory; `next` is the `after` of the following page, "" at the end."""

    source: str
    commit: str
    files: list[FileAnswer]
    next: str = ""


class ChangeAnswer(Model):
    """Added, modified, deleted or renamed; sizes are bytes."""

    kind: Literal["A", "M", "D", "R"]
    path: str
    old_path: str = ""
    size_bytes: int = 0
    old_size_bytes: int = 0


class RefusedAnswer(Model):
    """A path that cannot be committed."""

    path: str
    reason: str


class DiffAnswer(Model):
    """What a commit would change, by path; what it cannot, and what stays local. `patch` is in git's format."""

    changes: list[ChangeAnswer]
    refused: list[RefusedAnswer]
    ignored: list[str]
    empty_directories: list[str]
    open_for_writing: list[str]
    patch: str = ""


class StagedStatus(Model):
    """Staged files and bytes of a read-write mount, and how far its commit is, if one is under way."""

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

    `source` is "" if it cannot be read, `bytes` is the room on the disk.
    """

    name: str
    source: str = ""
    files: int = 0
    bytes: int = 0


class DatumStatus(Model):
    """The datum that is shown. `matched` counts what the cluster told of so far, `received` the datums that are known;
    `error` is why their listing ended early.
    """

    id: str
    idx: int
    num_datums: int
    received: int
    matched: int
    all_datums_received: bool
    error: ErrorAnswer | None = None
    input: dict[str, Any]
    out: str
    files: list[DatumFileAnswer]


class StatusAnswer(Model):
    version: str
    pid: int
    started: float
    mount_dir: str
    socket: str
    listen: str = ""
    log_file: str
    rss_bytes: int
    threads: int
    waiting_requests: int
    waiting_requests_limit: int
    lingering_sessions: int = 0
    follow_streams: int = 0
    follow_streams_limit: int = 0
    waiting_logins: int = 0
    waiting_logins_limit: int = 0
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
