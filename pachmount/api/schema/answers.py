"""Answers about repos, mounts, files, logins and changes."""

from __future__ import annotations

from typing import Any, Literal

from pachmount.api.schema.base import Model


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
    """For our own clients: the commit that was made of so many changes; "" if there was nothing to commit.

    `still_staged`: after a commit to another branch, changes that it may lack stay staged, and with them the others.
    """

    commit: str = ""
    changes: int = 0
    still_staged: bool = False


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
    """`hash` is hex, "" of a directory and of what is staged. A directory's size is the sum of what is below it, 0 in a
    read-write mount. `modified` is seconds since the epoch. A `link` is a symbolic one, `other` a pipe or socket.
    `path_hex` has the bytes of a path that is not UTF-8, else "".
    """

    path: str
    type: Literal["file", "dir", "link", "other"]
    size_bytes: int
    hash: str
    modified: float | None = None
    path_hex: str = ""


class EntryAnswer(FileAnswer):
    """One file or directory; `writable` tells whether it can be changed at the mount point. `note` tells if the head
    of the branch that was asked for has an error, and an older commit is shown.
    """

    source: str
    commit: str
    writable: bool
    note: str = ""


class FilesAnswer(Model):
    """A page of a directory; `next` is the `after` of the following page, "" at the end. `total` counts the entries of
    all pages, None while that is not known. `writable` and `note` as of EntryAnswer.
    """

    source: str
    commit: str
    files: list[FileAnswer]
    next: str = ""
    total: int | None = None
    writable: bool = False
    note: str = ""


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
    """What a commit would change, by path; what it cannot, and what stays local. `patch` is in git's format.

    `without_commit`: why the commit that was changed could not be compared with; then sizes in it may be missing.
    """

    changes: list[ChangeAnswer]
    refused: list[RefusedAnswer]
    ignored: list[str]
    empty_directories: list[str]
    open_for_writing: list[str]
    patch: str = ""
    without_commit: str = ""
