"""What the views of mounts read from: the cluster in force at each call, or nothing at all.

Every call that a mount makes to the cluster goes through its LiveReader, which counts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter_ns
from typing import TypeVar

from pachmount.errors import GoneError, NotFoundError
from pachmount.mounts.cluster import Cluster
from pachmount.pfs.model import ByteStream, CommitReader, CommitRef, FileEntry
from pachmount.vfs.statistics import MountStatistics

T = TypeVar("T")


class LiveReader(CommitReader):
    """Reads from the connection in force, so that a view outlives a new login.

    The cluster's NOT_FOUND becomes a GoneError: the commit was there, and so was each file that was listed. As "no such
    file" a program would believe that it was deleted, and a directory would be empty.
    """

    def __init__(self, cluster: Cluster, read_timeout: float, statistics: MountStatistics) -> None:
        """`read_timeout`: the longest wait (s) for a piece of a file; a cluster sends pieces of 19 MiB."""
        self._cluster = cluster
        self._read_timeout = read_timeout
        self._statistics = statistics

    def walk_batches(self, commit: CommitRef, path: str) -> Iterator[Sequence[FileEntry]]:
        return self._listing("WalkFile", self._cluster.client.walk_batches(commit, path))

    def diff(self, new: CommitRef, old: CommitRef) -> Iterator[tuple[FileEntry | None, FileEntry | None]]:
        """As `PfsClient.diff`."""
        return self._listing("DiffFile", self._cluster.client.diff(new, old))

    def list(self, commit: CommitRef, path: str) -> Iterator[FileEntry]:
        return self._listing("ListFile", self._cluster.client.list(commit, path))

    def open(self, commit: CommitRef, path: str, offset: int) -> ByteStream:
        client, idle_timeout = self._cluster.client, self._read_timeout
        return CountedStream(
            "GetFile", lambda: client.open(commit, path, offset, idle_timeout=idle_timeout), self._statistics
        )

    def open_tar(self, commit: CommitRef, directory: str, lower: str, upper: str) -> ByteStream:
        client, idle_timeout = self._cluster.client, self._read_timeout
        return CountedStream(
            "GetFileTAR",
            lambda: client.open_tar_range(commit, directory, lower, upper, idle_timeout=idle_timeout),
            self._statistics,
        )

    def _listing(self, method: str, entries: Iterator[T]) -> Iterator[T]:
        """The same; the call is made, and counted, when the first is asked for."""
        with self._statistics.request(method), _not_missing():
            yield from entries


class CountedStream(ByteStream):
    """The bytes of a content request, counted as they come; in flight until its end, an error or `cancel`."""

    def __init__(self, method: str, start: Callable[[], ByteStream], statistics: MountStatistics) -> None:
        """`start` makes the call."""
        self._statistics = statistics
        self._started = perf_counter_ns()
        with _not_missing():
            self._stream = start()
        self._ended = False
        statistics.begin(method)

    def __iter__(self) -> Iterator[memoryview]:
        try:
            with _not_missing():
                for piece in self._stream:
                    self._count(len(piece))
                    yield piece
        finally:
            self._end()

    def readinto(self, buffer: memoryview) -> int:
        with _not_missing():
            size = self._stream.readinto(buffer)
        self._count(size)
        return size

    def cancel(self) -> None:
        self._stream.cancel()
        self._end()

    def _count(self, size: int) -> None:
        if self._started:
            self._statistics.fetches.record(perf_counter_ns() - self._started)
            self._started = 0
        self._statistics.received(size)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._statistics.end()


@contextmanager
def _not_missing() -> Iterator[None]:
    """Say NotFoundError as what it means for a commit that was there before."""
    try:
        yield
    except NotFoundError as error:
        why = "the commit, its repo or its cluster is gone"
        raise GoneError(f"the cluster does not have it any more: {error.what}", why, "pachmount status") from error


class LostReader(CommitReader):
    """What is left of a commit that is gone: nothing but the reason."""

    def __init__(self, reason: GoneError) -> None:
        self._reason = reason

    def walk_batches(self, commit: CommitRef, path: str) -> Iterator[Sequence[FileEntry]]:  # noqa: ARG002
        raise self._error()

    def list(self, commit: CommitRef, path: str) -> Iterator[FileEntry]:  # noqa: ARG002
        raise self._error()

    def open(self, commit: CommitRef, path: str, offset: int) -> ByteStream:  # noqa: ARG002
        raise self._error()

    def open_tar(self, commit: CommitRef, directory: str, lower: str, upper: str) -> ByteStream:  # noqa: ARG002
        raise self._error()

    def _error(self) -> GoneError:
        """A new one each time: an exception that is raised in many threads collects their frames."""
        return GoneError(self._reason.what, self._reason.why, self._reason.hint)


class EmptyReader(CommitReader):
    """A commit without files: what an unfinished first commit shows."""

    def walk_batches(self, commit: CommitRef, path: str) -> Iterator[Sequence[FileEntry]]:  # noqa: ARG002
        return iter(())

    def list(self, commit: CommitRef, path: str) -> Iterator[FileEntry]:  # noqa: ARG002
        return iter(())

    def open(self, commit: CommitRef, path: str, offset: int) -> ByteStream:  # noqa: ARG002
        raise NotFoundError(f"no file '{path}' in {commit}")

    def open_tar(self, commit: CommitRef, directory: str, lower: str, upper: str) -> ByteStream:  # noqa: ARG002
        raise NotFoundError(f"no file '{directory}' in {commit}")
