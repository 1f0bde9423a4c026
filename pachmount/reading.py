"""Reading a commit's files from a program, without a mount: `pachmount.open("images@master")`.

It goes through the daemon, whose cache, listings and prefetch are those of the mounts; no FUSE is needed.
"""

from __future__ import annotations

import io
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pachmount import names, paths, reach
from pachmount.clients import Clients
from pachmount.errors import (
    BusyError,
    FailedCommitError,
    GoneError,
    IsADirectoryInSourceError,
    NotADirectoryInSourceError,
    NotFoundError,
    OutOfRangeError,
    UsageError,
)
from pachmount.globbing import Pattern
from pachmount.range_reader import RangeReader

if TYPE_CHECKING:
    from pachmount.api.schema import FileAnswer

PAGE = 10_000
BUSY_SECONDS = 30.0
BUSY_PAUSE = 0.1
"""How long, and how often, a daemon is asked again that sends too many files at once."""


@dataclass(frozen=True)
class FileInfo:
    """A file or directory. `size` in bytes, of a directory that of all below it; `hash` is the server's, hex, "" of a
    directory; `modified` is when the commit was finished, in seconds since the epoch.
    """

    path: str
    type: Literal["file", "dir"]
    size: int
    hash: str
    modified: float

    @property
    def is_dir(self) -> bool:
        return self.type == "dir"

    @property
    def name(self) -> str:
        """The last part of the path; "" of the root."""
        return self.path.rpartition("/")[2]


class Snapshot:
    """The files of one commit, or of a directory of it. Paths begin with a slash, at that directory.

    It stays at its commit when the branch moves on. Thread-safe. All methods raise what the daemon and the cluster may
    answer: errors of `pachmount.errors`, NotFoundError above all, and GoneError once the commit does not exist any
    more. Use it as a context, or close it.
    """

    def __init__(self, clients: Clients, source: str) -> None:
        """Find the commit of `[project/]repo[@branch|@commit][:/path]`. NotADirectoryInSourceError for a file."""
        given = names.parse_source(source)
        repo = source.partition(":")[0]
        self._clients = clients
        try:
            with clients.one() as client:
                top = client.file(f"{repo}:{given.path or '/'}")
            if top.type != "dir":
                why = "only a commit or a directory can be opened"
                raise NotADirectoryInSourceError(f"'{source}' is a file", why, f'open "{repo}" and read "{given.path}"')
        except BaseException:
            clients.close()
            raise
        self.source = replace(names.parse_source(top.source), path=given.path)
        """What it shows, in full: project, repo, branch, the commit's id, and the path that is its root."""
        self._pinned = str(replace(self.source, path=""))
        self.note = top.note
        """Tells if the head of the branch that was asked for has an error, and this is an older commit; else ""."""

    def __str__(self) -> str:
        return str(self.source)

    def __repr__(self) -> str:
        return f"pachmount.open({str(self)!r})"

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[FileInfo]:
        """What is at the top."""
        return self.scan("/")

    def close(self) -> None:
        """Close connections; files that are open go on."""
        self._clients.close()

    @property
    def commit(self) -> str:
        """The id of the commit: 32 hex digits."""
        return self.source.commit

    def info(self, path: str = "/") -> FileInfo:
        """What is at a path."""
        with self._of_this_commit(), self._clients.one() as client:
            return self._info(client.file(self._place(path)))

    def has_commit(self, commit: str) -> bool:
        """Whether the repo has a commit of that id, be it one with an error."""
        try:
            with self._clients.one() as client:
                client.file(f"{self.source.project}/{self.source.repo}@{commit}")
        except FailedCommitError:
            return True
        except NotFoundError:
            return False
        return True

    def exists(self, path: str) -> bool:
        """Whether there is a file or directory."""
        try:
            self.info(path)
        except NotFoundError:
            return False
        return True

    def ls(self, path: str = "/") -> list[FileInfo]:
        """What a directory has, by name; a file is listed as itself."""
        return list(self.scan(path))

    def scan(self, path: str = "/") -> Iterator[FileInfo]:
        """The same, page by page: a directory may have millions of entries."""
        place, after = self._place(path), ""
        while True:
            with self._of_this_commit(), self._clients.one() as client:
                page = client.files(place, after, PAGE)
            yield from map(self._info, page.files)
            after = page.next
            if not after:
                return

    def walk(self, path: str = "/", enter: Callable[[FileInfo], bool] = lambda _directory: True) -> Iterator[FileInfo]:
        """Everything below a directory, each directory before what it has, of those that `enter` says so."""
        pending = [self.scan(path)]
        while pending:
            found = next(pending[-1], None)
            if found is None:
                pending.pop()
                continue
            yield found
            if found.is_dir and enter(found):
                pending.append(self.scan(found.path))

    def glob(self, pattern: str) -> Iterator[FileInfo]:
        """The files and directories that match a glob of Pachyderm's, by path. UsageError if it is none."""
        wanted = Pattern(pattern)
        if wanted.literal is not None:
            if self.exists(wanted.literal):
                yield self.info(wanted.literal)
            return
        try:
            for found in self.walk(wanted.top, lambda directory: wanted.may_match_below(directory.path)):
                if wanted.matches(found.path):
                    yield found
        except NotFoundError:
            if self.exists(wanted.top):
                raise

    def read_bytes(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes [start, end) of a file; fewer where it ends before."""
        return b"".join(self.pieces(path, start, end))

    def pieces(self, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The same in pieces of 1 MiB at most, as they come."""
        if start < 0 or (end is not None and end < start):
            raise UsageError(f"invalid range from {start} to {end}", "it ends before it begins")
        if end == start:
            return
        try:
            with self._of_this_commit():
                yield from content(self._clients, self._place(path), start, end)
        except OutOfRangeError:
            return

    def open(self, path: str, mode: Literal["rb", "r"] = "rb", *, encoding: str = "utf-8") -> Any:
        """A seekable file, as the built-in `open` gives it; it reads ahead while it is read in sequence."""
        if mode not in ("rb", "r"):
            raise UsageError(f"cannot open '{path}' with mode '{mode}'", "a commit can only be read", "use 'rb' or 'r'")
        found = self.info(path)
        if found.is_dir:
            raise IsADirectoryInSourceError(f"'{path}' has no content", "it is a directory")
        file = io.BufferedReader(RangeReader(found.path, found.size, self.read_bytes))
        return file if mode == "rb" else io.TextIOWrapper(file, encoding=encoding)

    @contextmanager
    def _of_this_commit(self) -> Iterator[None]:
        """Tell a path that is not in the commit (NotFoundError) from a commit that is gone (GoneError)."""
        try:
            yield
        except NotFoundError as error:
            try:
                with self._clients.one() as client:
                    client.file(self._top)
            except NotFoundError as reason:
                what = f"commit {self.commit[:8]} of {self.source.project}/{self.source.repo} does not exist any more"
                raise GoneError(what, str(reason), reason.hint) from error
            raise

    def _place(self, path: str) -> str:
        return f"{self._pinned}:{self.source.path}{names.normalize_path(path)}" if path.strip("/") else self._top

    @property
    def _top(self) -> str:
        return f"{self._pinned}:{self.source.path or '/'}"

    def _info(self, answer: FileAnswer) -> FileInfo:
        path = answer.path.removeprefix(self.source.path).rstrip("/") or "/"
        kind: Literal["file", "dir"] = "dir" if answer.type == "dir" else "file"
        return FileInfo(path, kind, answer.size_bytes, answer.hash, answer.modified or 0.0)


def content(clients: Clients, place: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The bytes [start, end) of a file in pieces, once the daemon does not send too many files already."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        with clients.one() as client:
            pieces = client.content(place, start=start, end=end)
        try:
            first = next(pieces, None)
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(BUSY_PAUSE)
            continue
        if first is not None:
            yield first
            yield from pieces
        return


def open(source: str, *, mount_dir: str | os.PathLike[str] | None = None) -> Snapshot:  # noqa: A001
    """Open a commit for reading: `[project/]repo[@branch|@commit][:/path]`, by default the newest of `master`.

    A branch is opened at its newest commit that is finished without an error; a warning tells if that is not its head.
    The daemon of `mount_dir` (default: the usual one) is started if it does not run.
    """
    places = paths.places(None if mount_dir is None else Path(mount_dir))
    reach.ensure_reachable(places)
    snapshot = Snapshot(Clients(lambda: reach.reach(places)), source)
    if snapshot.note:
        warnings.warn(snapshot.note, stacklevel=2)
    return snapshot
