"""From the objects of `mounts/` to the answers of `schema`."""

from __future__ import annotations

import errno

from pachmount.api import schema
from pachmount.mounts.cluster import ClusterSnapshot
from pachmount.mounts.mount import Mount
from pachmount.mounts.resolve import READ_PERMISSIONS, WRITE_PERMISSION
from pachmount.names import Source
from pachmount.overlay.difference import Difference
from pachmount.pfs.model import AuthState, CommitInfo, ProjectInfo, RepoInfo
from pachmount.vfs.pages import Entry
from pachmount.vfs.statistics import Histogram, MountStatistics
from pachmount.vfs.warmup import Warmup

_AUTH = {AuthState.OFF: "off", AuthState.LOGGED_IN: "logged-in", AuthState.LOGGED_OUT: "logged-out"}
_CONTENT_CALLS = frozenset({"GetFile", "GetFileTAR"})
_NS = 1e9


def repo(info: RepoInfo) -> schema.RepoAnswer:
    authorization = "off"
    if info.permissions is not None:
        readable = READ_PERMISSIONS.keys() <= set(info.permissions)
        authorization = ("write" if WRITE_PERMISSION in info.permissions else "read") if readable else "none"
    branches = sorted(info.branches) if info.branches and authorization != "none" else None
    return schema.RepoAnswer.model_validate(
        {
            "project": info.repo.project,
            "repo": info.repo.name,
            "branches": branches,
            "authorization": authorization,
        }
    )


def project(info: ProjectInfo) -> schema.ProjectAnswer:
    auth_info: dict[str, object] = {}
    if info.permissions:
        auth_info["permissions"] = list(info.permissions)
    if info.roles:
        auth_info["roles"] = list(info.roles)
    created = None
    if info.created is not None:
        seconds = int(info.created)
        created = {"seconds": seconds, "nanos": int((info.created - seconds) * 1e9)}
    return schema.ProjectAnswer(
        project=schema.ProjectName(name=info.name),
        description=info.description or None,
        auth_info=auth_info or None,
        created_at=created,
    )


def commit(info: CommitInfo) -> schema.CommitAnswer:
    return schema.CommitAnswer(
        project=info.commit.repo.project,
        repo=info.commit.repo.name,
        commit=info.commit.id,
        branch=info.commit.branch,
        parent=info.parent,
        description=info.description,
        started=info.started,
        finished=info.finished,
        state=info.state.value,
        error=info.error,
        size_bytes=info.size_bytes,
    )


def file(path: bytes, entry: Entry) -> schema.FileAnswer:
    return schema.FileAnswer(
        path=text(path),
        type=entry.kind,
        size_bytes=entry.size,
        hash=entry.digest.hex(),
        modified=entry.modified,
        path_hex="" if is_text(path) else path.hex(),
    )


def mount(mount: Mount) -> schema.MountAnswer:
    """For other people's clients, which know no `note`. A branch that is gone changes nothing for the original."""
    spec, source = mount.spec, mount.spec.source
    return schema.MountAnswer.model_validate(
        {
            "name": spec.name,
            "project": source.project,
            "repo": source.repo,
            "branch": source.branch,
            "commit": source.commit,
            "paths": list(spec.paths) or ["/"],
            "path": spec.paths[0] if len(spec.paths) == 1 else "",
            "mode": spec.mode,
            "state": mount.state.value,
            "status": _status(mount),
            "mountpoint": str(spec.mountpoint),
            "actual_mounted_commit": source.commit,
            "latest_commit": mount.position.newest or mount.position.latest or source.commit,
            "how_many_commits_behind": mount.position.behind,
            "follow": spec.follow,
        }
    )


def _status(mount: Mount) -> str:
    tells_itself = mount.lost_branch or mount.gone is not None
    return mount.status_text() if tells_itself else mount.note or mount.status_text()


def mount_status(mount: Mount) -> schema.MountStatus:
    spec, source, view = mount.spec, mount.spec.source, mount.view
    listing = view.tree.listing if view is not None else None
    error = mount.error or mount.gone or (view.tree.error if view is not None else None)
    figures = statistics(mount.statistics)
    counters = schema.Counters(
        lookups=figures.operations["lookup"],
        listings=figures.operations["readdir"],
        reads=figures.operations["read"],
        read_bytes=figures.read_bytes,
        errors=sum(figures.errors.values()),
    )
    path = spec.paths[0] if len(spec.paths) == 1 else ""
    return schema.MountStatus.model_validate(
        {
            "name": spec.name,
            "source": str(Source(source.project, source.repo, source.branch, source.commit, path)),
            "mountpoint": str(spec.mountpoint),
            "mode": spec.mode,
            "state": mount.state.value,
            "status": mount.status_text(),
            "error": error.to_dict() if error is not None else None,
            "project": source.project,
            "repo": source.repo,
            "branch": source.branch,
            "commit": source.commit,
            "path": path,
            "latest_commit": mount.position.newest or mount.position.latest or source.commit,
            "behind": mount.position.behind,
            "follow": spec.follow,
            "note": mount.note,
            "mounted_at": mount.mounted_at,
            "listing": view.tree.state if view is not None else "failed",
            "files": len(listing) if listing is not None else 0,
            "listing_bytes": listing.memory_bytes if listing is not None else 0,
            "staged": _staged(mount),
            "counters": counters,
            "statistics": figures,
        }
    )


def _staged(mount: Mount) -> schema.StagedStatus | None:
    overlay, progress = mount.overlay, mount.progress
    if overlay is None:
        return None
    files, size = overlay.staged()
    limit = overlay.bytes.budget.limit
    status = schema.StagedStatus(changed=overlay.has_changes(), files=files, bytes=size, limit=limit)
    if progress is not None:
        status.committing = progress.phase
        status.committing_files, status.committing_total_files = progress.files, progress.total_files
        status.committing_bytes, status.committing_total_bytes = progress.bytes, progress.total_bytes
    return status


def difference(found: Difference, patch: str = "") -> schema.DiffAnswer:
    return schema.DiffAnswer(
        changes=[
            schema.ChangeAnswer(
                kind=change.kind,
                path=text(change.path),
                old_path=text(change.old_path),
                size_bytes=change.size,
                old_size_bytes=change.old_size,
            )
            for change in found.changes
        ],
        refused=[schema.RefusedAnswer(path=text(refused.path), reason=refused.reason) for refused in found.refused],
        ignored=[text(path) for path in found.ignored],
        empty_directories=[text(path) for path in found.empty_directories],
        open_for_writing=[text(path) for path in found.being_written],
        patch=patch,
    )


def text(path: bytes) -> str:
    """A path for JSON, which has no bytes: what is not UTF-8 shows as an escape."""
    return path.decode(errors="backslashreplace")


def is_text(path: bytes) -> bool:
    """Whether a path is UTF-8."""
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def statistics(counted: MountStatistics) -> schema.MountStatistics:
    requests, errors = counted.snapshot()
    return schema.MountStatistics(
        operations={
            "lookup": counted.lookups,
            "readdir": counted.readdirs.count,
            "read": counted.reads.count,
            "xattr": counted.xattrs,
            "statfs": counted.statfs,
        },
        errors={errno.errorcode.get(number, str(number)): count for number, count in sorted(errors.items())},
        missing=counted.missing,
        read_bytes=counted.read_bytes,
        memory_hits=counted.memory_hits,
        disk_hits=counted.disk_hits,
        misses=counted.misses,
        fetched_bytes=counted.fetched_bytes,
        requests=dict(sorted(requests.items())),
        content_requests=sum(count for method, count in requests.items() if method in _CONTENT_CALLS),
        listing_requests=sum(count for method, count in requests.items() if method not in _CONTENT_CALLS),
        requests_in_flight=counted.requests_in_flight,
        lookup=latency(counted.lookup_times),
        readdir=latency(counted.readdirs),
        read=latency(counted.reads),
        fetch=latency(counted.fetches),
    )


def named_statistics(mount: Mount) -> schema.NamedMountStatistics:
    return schema.NamedMountStatistics(
        name=mount.spec.name,
        source=str(mount.spec.source),
        state=mount.state.value,
        behind=mount.position.behind,
        **dict(statistics(mount.statistics)),
    )


def latency(times: Histogram) -> schema.Latency:
    return schema.Latency(
        count=times.count,
        total=times.total / _NS,
        p50=times.percentile(0.5) / _NS,
        p90=times.percentile(0.9) / _NS,
        p99=times.percentile(0.99) / _NS,
        max=times.longest / _NS,
        buckets=[(bound / _NS, count) for bound, count in times.filled()],
    )


def warmup(warmup: Warmup) -> schema.WarmupStatus:
    progress = warmup.progress
    return schema.WarmupStatus(
        id=warmup.id,
        mounts=[part.name for part in warmup.parts],
        state=warmup.state,
        total_files=progress.total_files,
        total_bytes=progress.total_bytes,
        done_files=progress.done_files,
        done_bytes=progress.done_bytes,
        found_files=progress.found_files,
        found_bytes=progress.found_bytes,
        started=warmup.started_at,
        ended=warmup.ended_at,
        error=schema.ErrorAnswer(**warmup.error.to_dict()) if warmup.error is not None else None,
    )


def cluster(snapshot: ClusterSnapshot) -> schema.ClusterStatus:
    connection, identity = snapshot.connection, snapshot.identity
    state = "none" if connection is None else "connected" if snapshot.unreachable_since is None else "unreachable"
    return schema.ClusterStatus.model_validate(
        {
            "state": state,
            "address": connection.address if connection is not None else "",
            "embedded": connection is not None and connection.embedded,
            "context": connection.context if connection is not None else "",
            "version": snapshot.version,
            "auth": _AUTH[identity.state] if identity is not None else "unknown",
            "username": identity.username if identity is not None else "",
            "login_expires": identity.expires if identity is not None else None,
            "unreachable_since": snapshot.unreachable_since,
            "error": snapshot.error.to_dict() if snapshot.error is not None else None,
        }
    )
