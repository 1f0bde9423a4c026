"""Frozen dataclasses of what a cluster tells us; the rest of pachmount sees these, never protobuf messages."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True)
class RepoRef:
    """A user repo by its name; nothing says that it exists."""

    project: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}/{self.name}"


@dataclass(frozen=True)
class CommitRef:
    """A commit of a repo. `id` may be a branch name or ancestry (`master^2`) where a call resolves it.

    `branch` is sent along where it is known: servers before 2.11 need it in ModifyFile.
    """

    repo: RepoRef
    id: str
    branch: str = ""

    def __str__(self) -> str:
        return f"{self.repo}@{self.id}"


@dataclass(frozen=True)
class ProjectInfo:
    name: str
    description: str = ""
    created: float | None = None
    permissions: tuple[int, ...] = ()
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class RepoInfo:
    """`permissions` is None when auth is not active; `size_bytes` is the server's upper bound."""

    repo: RepoRef
    description: str = ""
    created: float | None = None
    size_bytes: int = 0
    branches: tuple[str, ...] = ()
    permissions: tuple[int, ...] | None = None


@dataclass(frozen=True)
class BranchInfo:
    """A branch and its head. With `has_provenance` it is written by the cluster (an output branch), not by users."""

    repo: RepoRef
    name: str
    head: CommitRef
    has_provenance: bool = False


class CommitState(enum.Enum):
    """OPEN can be written, FINISHING can be neither written nor read yet, FINISHED is as it stays."""

    OPEN = "open"
    FINISHING = "finishing"
    FINISHED = "finished"


@dataclass(frozen=True)
class CommitInfo:
    """Times are seconds since the epoch; `finished` is None until the server is done with the commit."""

    commit: CommitRef
    parent: str = ""
    description: str = ""
    started: float | None = None
    finishing: float | None = None
    finished: float | None = None
    error: str = ""
    size_bytes: int = 0

    @property
    def state(self) -> CommitState:
        if self.finished is not None:
            return CommitState.FINISHED
        return CommitState.FINISHING if self.finishing is not None else CommitState.OPEN


class FileEntry(NamedTuple):
    """One line of a listing. `path` starts with a slash; a directory's has no trailing one. `size` is in bytes.

    `hash` is the server's content hash (32 bytes); of a directory it says nothing about names.
    """

    path: str
    is_dir: bool
    size: int
    hash: bytes


class ListedDatum(NamedTuple):
    """A datum as the cluster lists it: 64 hex digits, and its files in order, without the inputs that they are for."""

    id: str
    files: tuple[tuple[CommitRef, FileEntry], ...]


@dataclass(frozen=True)
class PipelineInfo:
    """A version of a pipeline. `state` is the server's without prefix, such as `running`; times are seconds since the
    epoch. `inputs` are the branches that it reads; None if the server does not tell.
    """

    project: str
    name: str
    version: int
    state: str
    reason: str = ""
    created: float | None = None
    inputs: frozenset[tuple[RepoRef, str]] | None = None


@dataclass(frozen=True)
class JobInfo:
    """A job of a pipeline. `done`, `failed` and `total` count datums; skipped and recovered ones are done."""

    id: str
    state: str
    reason: str = ""
    started: float | None = None
    finished: float | None = None
    done: int = 0
    failed: int = 0
    total: int = 0


@dataclass(frozen=True)
class ClusterVersion:
    """The version of a server; `additional` is a suffix such as `-rc.1`."""

    major: int
    minor: int
    micro: int
    additional: str = ""

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.micro}{self.additional}"


@dataclass(frozen=True)
class ClusterInfo:
    """`warnings` are the cluster's remarks about our version, for a person to read."""

    id: str
    deployment_id: str = ""
    warnings: tuple[str, ...] = ()
    paused: bool = False


class AuthState(enum.Enum):
    """Whether a cluster wants a login (OFF: none), and has ours."""

    OFF = "off"
    LOGGED_IN = "logged-in"
    LOGGED_OUT = "logged-out"


@dataclass(frozen=True)
class Identity:
    """Who the cluster thinks we are: `username` is "" unless logged in, `expires` (s since the epoch) None = never."""

    state: AuthState
    username: str = ""
    expires: float | None = None


@dataclass(frozen=True)
class OidcLogin:
    """A login begun in the browser: open `url`; `state` fetches the token afterwards."""

    url: str
    state: str


class ByteStream(Protocol):
    """The content of one file from some offset on; for one reading thread at a time."""

    def __iter__(self) -> Iterator[memoryview]:
        """Pieces as they arrive."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`; the number of bytes written, fewer than asked for only at the end."""

    def cancel(self) -> None:
        """Stop the transfer; an iteration under way ends at once. May be called from another thread."""


class CommitReader(Protocol):
    """What a file system view needs of a cluster: one commit's files. The seam between `vfs/` and `pfs/`.

    Every call raises a PachmountError (NotFoundError, ClusterUnreachableError, NotPermittedError, …).
    """

    def walk_batches(self, commit: CommitRef, path: str) -> Iterator[Sequence[FileEntry]]:
        """Everything below `path` ("" = root), depth first in path order; includes `path` itself unless it is the root.

        In batches as they arrive. A path that does not exist gives nothing.
        """

    def list(self, commit: CommitRef, path: str) -> Iterator[FileEntry]:
        """The entries of one directory, in path order."""

    def open(self, commit: CommitRef, path: str, offset: int) -> ByteStream:
        """Stream a file's bytes from `offset` (bytes, ≥ 0) to its end."""

    def open_tar(self, commit: CommitRef, directory: str, lower: str, upper: str) -> ByteStream:
        """Stream an archive of all files below `directory` ("" = root) with paths in [lower, upper).

        It may hold more: a directory in the range comes as a whole.
        """
