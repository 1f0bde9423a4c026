"""Reading the files of commits: listing, walking, comparing, and their bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from pachmount.errors import NotFoundError, UsageError
from pachmount.pfs import convert
from pachmount.pfs.adding_up import Sum, WalkCheck, checked_pairs, incomplete
from pachmount.pfs.content import ContentStream
from pachmount.pfs.model import CommitRef, FileEntry
from pachmount.pfs.proto import pfs_pb2
from pachmount.pfs.rpc import Rpc
from pachmount.pfs.status import is_file_missing

T = TypeVar("T")

MAX_PAGE = 99_999
"""Entries in one page of a listing; servers refuse to give more than 100,000, one of which may be the marker."""

_PFS = "/pfs_v2.API/"


class FileCalls:
    """Reads the files of a cluster. Satisfies `model.CommitReader`; every call raises a PachmountError."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def walk(self, commit: CommitRef, path: str = "") -> Iterator[FileEntry]:
        """Everything below `path`, depth first in path order, `path` itself included unless it is the root.

        A path that does not exist, and an empty commit, give nothing.
        """
        for entries in self.walk_batches(commit, path):
            yield from entries

    def walk_batches(self, commit: CommitRef, path: str = "") -> Iterator[Sequence[FileEntry]]:
        """The same as `walk`, in batches as they arrive.

        IncompleteListingError, at the latest behind the last one, when some have not come.
        """
        request = pfs_pb2.WalkFileRequest(file=convert.file_message(commit, path))
        batches = self._rpc.listing(_PFS + "WalkFile", request, convert.decode_entries)
        check = WalkCheck(commit, path)
        try:
            for entries in batches:
                check.feed(entries)
                yield entries if entries[0].path else entries[1:]
        except NotFoundError as error:
            if not is_file_missing(error):
                raise
            return
        check.finish()
        if check.is_empty and self._find(commit, path) is not None:
            raise incomplete(commit, path, "nothing came of it")

    def list(self, commit: CommitRef, path: str = "") -> Iterator[FileEntry]:
        """The entries of one directory, in path order; nothing if it does not exist.

        IncompleteListingError behind the last one when some have not come: the directory itself is asked for, too, at
        the same time.
        """
        found = _begun(partial(self._find, commit, path))
        request = pfs_pb2.ListFileRequest(file=convert.file_message(commit, path))
        came: list[tuple[int, bytes]] = []
        for entries in self._rpc.listing(_PFS + "ListFile", request, convert.decode_entries):
            came.extend((entry.size, entry.hash) for entry in entries)
            yield from entries
        directory = found.result()  # its call has a deadline
        if directory is not None and directory.is_dir:
            total = Sum(directory)
            for size, digest in came:
                total.add(size, digest)
            total.check(commit)
        elif came and directory is None:
            raise incomplete(commit, path, "the cluster says that there is no such directory")

    def glob(self, commit: CommitRef, pattern: str) -> Iterator[Sequence[FileEntry]]:
        """The files and directories that a pattern matches, in path order, in batches as they arrive."""
        request = pfs_pb2.GlobFileRequest(commit=convert.commit_message(commit), pattern=pattern)
        return self._rpc.listing(_PFS + "GlobFile", request, convert.decode_entries)

    def list_page(self, commit: CommitRef, path: str, after: FileEntry | None, number: int) -> Sequence[FileEntry]:
        """Up to `number` entries of one directory that follow `after` (the last entry of the page before)."""
        if not 1 <= number <= MAX_PAGE:
            raise UsageError(f"invalid number of entries {number}", f"it must be 1 to {MAX_PAGE}")
        request = pfs_pb2.ListFileRequest(file=convert.file_message(commit, path), number=number)
        if after is not None:
            marker = after.path + "/" if after.is_dir else after.path
            request.paginationMarker.CopyFrom(convert.file_message(commit, marker))
            request.number = number + 1  # servers before 2.7 give the marker itself again
        page = self._rpc.collect(_PFS + "ListFile", request, convert.decode_entry)
        return [entry for entry in page if after is None or entry.path != after.path][:number]

    def diff(self, new: CommitRef, old: CommitRef) -> Iterator[tuple[FileEntry | None, FileEntry | None]]:
        """The files and directories in which two commits differ, as (new, old), in path order; None where it is not."""
        request = pfs_pb2.DiffFileRequest(
            new_file=convert.file_message(new, "/"), old_file=convert.file_message(old, "/")
        )
        stream = self._rpc.stream(_PFS + "DiffFile", request, pfs_pb2.DiffFileResponse.FromString)
        is_empty = True
        for pair in checked_pairs(new, map(convert.file_pair, stream)):
            is_empty = False
            yield pair
        if is_empty and new.id != old.id and self._root_hash(new) != self._root_hash(old):
            raise incomplete(new, "/", f"nothing came of its differences from {old.id}, but there are some")

    def inspect_file(self, commit: CommitRef, path: str) -> FileEntry:
        """One file or directory (of a directory the server adds up the whole tree); raises NotFoundError."""
        request = pfs_pb2.InspectFileRequest(file=convert.file_message(commit, path))
        return self._rpc.unary(_PFS + "InspectFile", request, convert.decode_entry)

    def _find(self, commit: CommitRef, path: str) -> FileEntry | None:
        try:
            return self.inspect_file(commit, path)
        except NotFoundError as error:
            if not is_file_missing(error):
                raise
            return None

    def _root_hash(self, commit: CommitRef) -> bytes:
        root = self._find(commit, "")
        return b"" if root is None else root.hash

    def open(
        self, commit: CommitRef, path: str, offset: int = 0, *, idle_timeout: float | None = None
    ) -> ContentStream:
        """Stream a file's bytes from `offset` (a negative one is 0) to its end; not repeated after a failure.

        The first piece comes when the server has read 19 MiB or the end of the file. `idle_timeout` (seconds) is the
        longest wait for a piece.
        """
        file = convert.file_message(commit, convert.literal_pattern(path))
        request = pfs_pb2.GetFileRequest(file=file, offset=max(offset, 0))
        return self._rpc.byte_stream(_PFS + "GetFile", request, idle_timeout)

    def open_tar(
        self,
        commit: CommitRef,
        path: str,
        *,
        glob: bool = False,
        path_range: tuple[str, str] | None = None,
        idle_timeout: float | None = None,
    ) -> ContentStream:
        """A tar archive of a file, a directory with all below it, or with `glob` of all matches, in pieces.

        `path_range` [lower, upper) limits the matches of a glob. Names in the archive start with a slash.
        """
        request = pfs_pb2.GetFileRequest(
            file=convert.file_message(commit, path if glob else convert.literal_pattern(path))
        )
        if path_range is not None:
            request.path_range.CopyFrom(pfs_pb2.PathRange(lower=path_range[0], upper=path_range[1]))
        return self._rpc.byte_stream(_PFS + "GetFileTAR", request, idle_timeout)

    def open_tar_range(
        self, commit: CommitRef, directory: str, lower: str, upper: str, *, idle_timeout: float | None = None
    ) -> ContentStream:
        """A tar archive of the files below a directory ("" = root) with paths in [lower, upper), in pieces.

        A directory in the range comes with everything below it. Nothing in the range is a NotFoundError.
        """
        pattern = convert.literal_pattern(directory) if directory else ""
        return self.open_tar(commit, pattern + "/**", glob=True, path_range=(lower, upper), idle_timeout=idle_timeout)


def _begun(work: Callable[[], T]) -> Future[T]:
    """The result of a call that another thread makes."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 (whoever asks for the result gets it)
            result.set_exception(error)

    threading.Thread(target=run, name="inspect", daemon=True).start()
    return result
