"""What the views of mounts read from: the cluster in force at each call, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterator

from pachmount.errors import NotFoundError
from pachmount.mounts.cluster import Cluster
from pachmount.pfs.model import ByteStream, CommitReader, CommitRef, FileEntry


class LiveReader(CommitReader):
    """Reads from the connection in force, so that a view outlives a new login."""

    def __init__(self, cluster: Cluster, read_timeout: float) -> None:
        """`read_timeout`: the longest wait (s) for a piece of a file; a cluster sends pieces of 19 MiB."""
        self._cluster = cluster
        self._read_timeout = read_timeout

    def walk(self, commit: CommitRef, path: str) -> Iterator[FileEntry]:
        return self._cluster.client.walk(commit, path)

    def list(self, commit: CommitRef, path: str) -> Iterator[FileEntry]:
        return self._cluster.client.list(commit, path)

    def open(self, commit: CommitRef, path: str, offset: int) -> ByteStream:
        return self._cluster.client.open(commit, path, offset, idle_timeout=self._read_timeout)


class EmptyReader(CommitReader):
    """A commit without files: what an unfinished first commit shows."""

    def walk(self, commit: CommitRef, path: str) -> Iterator[FileEntry]:  # noqa: ARG002
        return iter(())

    def list(self, commit: CommitRef, path: str) -> Iterator[FileEntry]:  # noqa: ARG002
        return iter(())

    def open(self, commit: CommitRef, path: str, offset: int) -> ByteStream:  # noqa: ARG002
        raise NotFoundError(f"no file '{path}' in {commit}")
