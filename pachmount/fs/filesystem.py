"""PachFileSystem: reading through the daemon, writing as commits."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from fsspec.transaction import Transaction

from pachmount import connecting, paths, reach, reading
from pachmount.client import DaemonClient
from pachmount.clients import Clients
from pachmount.errors import GoneError, NotFoundError, PachmountError
from pachmount.fs.changes import Changes, new_spool
from pachmount.fs.places import Place, find_place
from pachmount.names import DEFAULT_PROJECT
from pachmount.own_files import is_in_own
from pachmount.pfs.model import CommitRef

log = logging.getLogger(__name__)

PAGE = 10_000
"""Entries that are asked for at a time."""


class PachTransaction(Transaction):  # type: ignore[misc]
    """All that is written in it becomes one commit (one a branch) at its end, or nothing after an exception."""

    def start(self) -> None:
        super().start()
        self.fs.changes = Changes()

    def complete(self, commit: bool = True) -> None:
        fs, changes = self.fs, self.fs.changes
        try:
            super().complete(commit)  # files put their contents into the changes when they are closed
            if commit and changes:
                fs.commit_changes(changes)
        finally:
            changes.discard()
            fs.changes = None


class PachFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Repos as a file system. Errors are OSErrors with the words of the daemon.

    `mount_dir` tells which daemon is asked (the usual one by default), `project` is the one of repos that are named
    without, `message` that of commits. Whatever is written outside `fs.transaction` is a commit of its own: a file,
    a `put` or `rm` of a directory.
    """

    protocol = "pfs"
    root_marker = ""
    transaction_type = PachTransaction

    def __init__(
        self, mount_dir: str | None = None, project: str = DEFAULT_PROJECT, message: str = "", **options: Any
    ) -> None:
        super().__init__(**options)
        self.mount_dir = mount_dir
        self.project = project
        self.message = message
        self.changes: Changes | None = None  # of the transaction, which is that of all threads
        self._of_thread = threading.local()
        self._clients = Clients(partial(_connect, mount_dir))

    # -- paths

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return os.fspath(path).removeprefix("pfs://").strip("/")

    @classmethod
    def _parent(cls, path: str) -> str:
        return str(cls._strip_protocol(path)).rpartition("/")[0]

    def _place(self, path: str) -> Place:
        stripped = self._strip_protocol(path)
        with as_os_errors(stripped):
            place = find_place(stripped, self.project)
        if place is None:
            raise FileNotFoundError(2, "no file: it names no branch — pfs://REPO@BRANCH/PATH", stripped)
        return place

    # -- the daemon and the cluster

    def commit_changes(self, changes: Changes) -> list[CommitRef]:
        """Make commits of changes."""
        with as_os_errors():
            with self._clients.one() as daemon:
                cluster = daemon.status().cluster
            with connecting.connect(cluster) as (client, _project):
                return changes.commit(client, self.message)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Changes]:
        """The changes of the transaction or of `_at_once`, or else new ones that are committed at the end."""
        present = self.changes if self.changes is not None else self._at_once_changes
        if present is not None:
            yield present
            return
        changes = Changes()
        try:
            yield changes
            if changes:
                self.commit_changes(changes)
        finally:
            changes.discard()

    @contextlib.contextmanager
    def _at_once(self) -> Iterator[None]:
        """Everything that this thread does within is one commit, also outside a transaction."""
        with self._changing() as changes:
            outer, self._of_thread.changes = self._at_once_changes, changes
            try:
                yield
            finally:
                self._of_thread.changes = outer

    @property
    def _at_once_changes(self) -> Changes | None:
        return getattr(self._of_thread, "changes", None)

    # -- reading

    def ls(self, path: str, detail: bool = True, **_options: Any) -> list[Any]:
        """The entries of a directory, or the file itself; above the branches: projects, repos, branches."""
        stripped = self._strip_protocol(path)
        with as_os_errors(stripped):
            place = find_place(stripped, self.project)
            if place is None:
                entries = self._above(stripped)
            else:
                found = self._stat(place)
                entries = [found] if found["type"] == "file" else list(self._directory(place))
        return entries if detail else [entry["name"] for entry in entries]

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        """Name, type, size (bytes), and of a file its `hash`; `modified` in seconds since the epoch."""
        stripped = self._strip_protocol(path)
        with as_os_errors(stripped):
            place = find_place(stripped, self.project)
            if place is None:
                self._above(stripped)
                return _directory_info(stripped)
            return self._stat(place)

    def _stat(self, place: Place) -> dict[str, Any]:
        with self._clients.one() as daemon:
            answer = daemon.file(place.address)
        if answer.note:
            warnings.warn(answer.note, stacklevel=2)
        name = f"{place.root}{answer.path.rstrip('/')}"
        return _info(name, answer) | {"commit": answer.commit}

    def _directory(self, place: Place) -> Iterator[dict[str, Any]]:
        with self._clients.one() as daemon:
            for page in daemon.file_pages(place.address, PAGE):
                for entry in page.files:
                    yield _info(f"{place.root}{entry.path.rstrip('/')}", entry)

    def _above(self, path: str) -> list[dict[str, Any]]:
        """The projects, the branches of a project's repos, or those of a repo."""
        with self._clients.one() as daemon:
            projects, repos = daemon.projects(), daemon.repos() if path else []
        names = [answer.project.name for answer in projects]
        if not path:
            return [_directory_info(name) for name in names]
        project, _, repo = path.partition("/")
        found = [
            _directory_info(f"{answer.project}/{answer.repo}@{branch}")
            for answer in repos
            if answer.project == project and repo in ("", answer.repo)
            for branch in answer.branches or []
        ]
        if not found and (repo or project not in names):
            raise FileNotFoundError(2, "no such project or repo", path)
        return found

    def exists(self, path: str, **options: Any) -> bool:
        """Whether there is such a file or directory. What keeps us from knowing is raised: it does not mean no."""
        return self._type(path, **options) != ""

    def isdir(self, path: str) -> bool:
        return self._type(path) == "directory"

    def isfile(self, path: str) -> bool:
        return self._type(path) == "file"

    def _type(self, path: str, **options: Any) -> str:
        """What is at a path: "file", "directory", or "" for nothing."""
        try:
            return str(self.info(path, **options)["type"])
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def walk(
        self, path: str, maxdepth: int | None = None, topdown: bool = True, on_error: Any = "omit", **options: Any
    ) -> Any:
        """As fsspec's, but by default only what does not exist is left out: an outage is no empty directory."""
        return super().walk(path, maxdepth, topdown, _omit_missing if on_error == "omit" else on_error, **options)

    def modified(self, path: str) -> datetime.datetime:
        """When the commit was finished that a file was read from."""
        return datetime.datetime.fromtimestamp(self.info(path).get("modified") or 0.0, datetime.timezone.utc)

    def ukey(self, path: str) -> str:
        """What tells one content from another: the cluster's hash of a file."""
        return str(self.info(path).get("hash") or super().ukey(path))

    def checksum(self, path: str) -> int:
        return int(self.ukey(path)[:16], 16)

    def sign(self, path: str, expiration: int = 100, **options: Any) -> str:
        raise NotImplementedError("pfs:// has no signed URLs")

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_options: Any) -> bytes:
        place = self._place(path)
        with as_os_errors(path):
            if (start or 0) < 0 or (end is not None and end < 0):
                found = self._stat(place)
                place, size = place.at(found["commit"]), found["size"]
                start = max(size + start, 0) if start is not None and start < 0 else start
                end = size + end if end is not None and end < 0 else end
            return self.read_range(place, start or 0, end)

    def read_range(self, place: Place, start: int, end: int | None) -> bytes:
        """The bytes of a file from `start` to `end` (None: its end), as far as there are some."""
        if end is not None and end <= start:
            return b""
        try:
            return b"".join(reading.content(self._clients, place.address, start, end))
        except PachmountError as error:
            if error.id == "out-of-range":
                return b""
            raise

    def _open(self, path: str, mode: str = "rb", block_size: Any = None, **options: Any) -> PachFile:
        return PachFile(self, path, mode, block_size or "default", **options)

    # -- writing

    def mkdir(self, path: str, create_parents: bool = True, **_options: Any) -> None:
        """Nothing: a repo has no empty directories, and is made with the first file."""

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Nothing, as `mkdir`."""

    def rmdir(self, path: str) -> None:
        """Nothing: a directory goes with its last file."""

    def rm_file(self, path: str) -> None:
        place = self._place(path)
        with self._changing() as changes, as_os_errors(path):
            if not changes.has(place) and self._stat(place)["type"] == "directory":
                raise IsADirectoryError(21, "it is a directory", path)
            changes.delete(place)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files, and with `recursive` directories; one commit."""
        with self._at_once(), self._changing() as changes:
            for each in self.expand_path(path):
                if not self.isdir(each):
                    self.rm_file(each)
                elif not recursive:
                    raise IsADirectoryError(21, "it is a directory: remove it with recursive=True", each)
                else:
                    for file in self.find(each, maxdepth=maxdepth):
                        changes.delete(self._place(file))

    def cp_file(self, path1: str, path2: str, **_options: Any) -> None:
        source, target = self._place(path1), self._place(path2)
        with as_os_errors(path1):
            found = self._stat(source)
        if found["type"] == "directory":
            return
        with as_os_errors(path2):
            target.require_writable()
        with self._changing() as changes, as_os_errors(path2):
            if source.repo == target.repo:
                changes.copy(CommitRef(source.repo, found["commit"], source.source.branch), source.path, target)
                return
            spool = new_spool()
            for piece in reading.content(self._clients, source.address):
                spool.write(piece)
            changes.put(target, spool)

    def copy(self, path1: Any, path2: Any, **options: Any) -> None:
        with self._at_once():
            super().copy(path1, path2, **options)

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **options: Any) -> None:
        with self._at_once():
            super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **options)

    def put(self, lpath: Any, rpath: Any, **options: Any) -> None:
        with self._at_once():
            super().put(lpath, rpath, **options)

    def put_file(self, lpath: Any, rpath: Any, *arguments: Any, **options: Any) -> None:
        """Put a file of the disk; the own files of this program are left out, as in `pachmount import`."""
        if is_in_own(self._strip_protocol(rpath)):
            log.warning("left out '%s': it is a file of pachmount itself", lpath)
            return
        super().put_file(lpath, rpath, *arguments, **options)

    def pipe(self, path: str | Mapping[str, bytes], value: bytes | None = None, **options: Any) -> None:
        with self._at_once():
            super().pipe(path, value, **options)


class PachFile(AbstractBufferedFile):  # type: ignore[misc]
    """An open file of a repo. It is read from one commit, also when the branch moves on.

    What is written is committed when it is closed, or with the transaction.
    """

    fs: PachFileSystem

    def __init__(self, fs: PachFileSystem, path: str, mode: str, block_size: Any, **options: Any) -> None:
        self._place = fs._place(path)
        self._spool: IO[bytes] | None = None
        if "r" in mode:
            self.details = fs.info(path)
            if self.details["type"] == "directory":
                raise IsADirectoryError(21, "it is a directory", path)
            self._place = self._place.at(self.details["commit"])
        else:
            with as_os_errors(path):
                self._place.require_writable()  # before anything is written
            if "x" in mode and fs.exists(path):
                raise FileExistsError(17, "it exists already", path)
        super().__init__(fs, path, mode, block_size, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        reopen, (fs, _path, *rest) = super().__reduce__()
        return reopen, (fs, f"{self._place.root}{self._place.path}", *rest)

    def _fetch_range(self, start: int, end: int) -> bytes:
        with as_os_errors(self.path):
            try:
                return self.fs.read_range(self._place, start, end)
            except NotFoundError as error:
                raise GoneError("the cluster does not have the open file any more", str(error), error.hint) from error

    def _initiate_upload(self) -> None:
        self._spool = new_spool()

    def _upload_chunk(self, final: bool = False) -> bool:
        self._spool = self._spool or new_spool()
        self._spool.write(self.buffer.getvalue())
        if final and (self.autocommit or self.fs.changes is not None):
            self.commit()  # in a transaction now, too: what comes later in it is to win
        return True

    def commit(self) -> None:
        """Put what was written into the changes of the transaction, or commit it."""
        if self._spool is None:
            return
        spool, self._spool = self._spool, None
        with self.fs._changing() as changes:
            add = changes.append if "a" in self.mode else changes.put
            add(self._place, spool)

    def discard(self) -> None:
        """Give up what was written."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None


@contextlib.contextmanager
def as_os_errors(path: str | Iterable[str] = "") -> Iterator[None]:
    """Our errors as those that users of fsspec expect: FileNotFoundError, PermissionError, …"""
    try:
        yield
    except PachmountError as error:
        words = f"{error} ({error.hint})" if error.hint else str(error)
        raise OSError(error.errno, words, path or None) from error


def _omit_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _info(name: str, answer: Any) -> dict[str, Any]:
    if answer.type == "dir":
        return _directory_info(name)
    return {
        "name": name,
        "type": "file",
        "size": answer.size_bytes,
        "hash": answer.hash,
        "modified": answer.modified,
    }


def _directory_info(name: str) -> dict[str, Any]:
    return {"name": name, "type": "directory", "size": 0}


def _connect(mount_dir: str | None) -> DaemonClient:
    """A client of the daemon of a mount directory (None: the usual one), which is started if it does not run."""
    places = paths.places(Path(mount_dir) if mount_dir is not None else None)
    reach.ensure_reachable(places)
    return reach.reach(places)
