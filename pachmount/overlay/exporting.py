"""Writing staged changes into a directory of the user's: whole files, parts of files, and a list of all of it.

DIR/files/PATH     files of which all bytes are known, links, directories
DIR/partial/PATH   files of which some bytes only the commit has, which cannot be read: these are zeros
DIR/manifest.json  what was changed, deleted and renamed; what is missing
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pachmount.errors import AlreadyExistsError, DataError, NotPermittedError, PachmountError, StorageFullError
from pachmount.overlay.staged_work import Range, StagedItem, StagedWork
from pachmount.overlay.sums import BLOCK_BYTES

FILES, PARTIAL, MANIFEST = "files", "partial", "manifest.json"


class CommitBytes(Protocol):
    """The commit that was changed, as far as it can be read. Both raise PachmountError."""

    def files(self, directory: str) -> Iterator[tuple[str, int]]:
        """Path and size of all files below a directory."""

    def read(self, path: str, start: int, end: int) -> Iterator[bytes]:
        """Bytes of a file."""


@dataclass
class Exported:
    """What was written. `missing` are paths of which something is not there; `why` the commit could not be read."""

    directory: str
    files: int = 0
    bytes: int = 0
    partial: int = 0
    deleted: int = 0
    missing: list[str] = field(default_factory=list)
    why: str = ""


def export(work: StagedWork, directory: Path, commit: CommitBytes | None) -> Exported:
    """Write all that is staged into a directory that is new or empty; nothing that exists is written over.

    Raises AlreadyExistsError, and NotPermittedError, StorageFullError or DataError for faults of the disk.
    """
    try:
        _make(directory)
        return _Export(work, directory, commit).run()
    except OSError as error:
        what, why = f"cannot export into '{directory}'", error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(what, why, "name a directory on another disk") from error
        if isinstance(error, PermissionError):
            raise NotPermittedError(what, why, "name a directory that you can write to") from error
        raise DataError(what, why) from error


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True)
    except FileExistsError as error:
        if not directory.is_dir() or any(directory.iterdir()):
            why = "something is there already"
            raise AlreadyExistsError(f"cannot export into '{directory}'", why, "name a new directory") from error


class _Export:
    def __init__(self, work: StagedWork, directory: Path, commit: CommitBytes | None) -> None:
        self._work = work
        self._top = directory
        self._commit = commit
        self._result = Exported(str(directory))
        if commit is None:
            self._result.why = "the daemon is not running"
        self._manifest: list[dict[str, Any]] = []

    def run(self) -> Exported:
        for item in self._work.items:
            self._manifest.append(self._write(item))
        source = self._work.source
        about = {
            "name": self._work.name,
            "source": str(source) if source is not None else "",
            "cluster": self._work.cluster,
            "since": self._work.since,
            "commit_was_not_read": self._result.why,
            "changes": self._manifest,
        }
        with self._create(MANIFEST, "") as descriptor:
            _write_all(descriptor, json.dumps(about, indent=2, ensure_ascii=False).encode("utf-8", "surrogateescape"))
        return self._result

    def _write(self, item: StagedItem) -> dict[str, Any]:
        path = os.fsdecode(item.path)
        said: dict[str, Any] = {"path": path, "kind": item.kind}
        if item.kind == "deleted":
            self._result.deleted += 1
            return said
        said["mode"] = f"{stat.S_IMODE(item.mode):04o}"
        if item.old_path and item.old_path != item.path:
            said["renamed_from"] = os.fsdecode(item.old_path)
        if item.kind == "file":
            self._file(item, path, said)
        elif item.kind == "link":
            said["target"] = os.fsdecode(item.target)
            place = self._place(FILES, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(item.target, place)
        elif item.kind == "directory":
            self._place(FILES, path).mkdir(parents=True, exist_ok=True)
            if item.old_path:
                self._moved(item, path, said)
        return said

    def _file(self, item: StagedItem, path: str, said: dict[str, Any]) -> None:
        said["size_bytes"] = item.size
        missing: list[Range] = []
        top = FILES if not item.missing or self._is_readable(item) else PARTIAL
        if item.doubtful:
            top = PARTIAL
            said["in_doubt"] = [list(each) for each in item.doubtful]
        with self._create(top, path) as descriptor:
            missing += self._staged(item, descriptor)
            for start, end in item.missing:
                missing += self._of_commit(descriptor, os.fsdecode(item.old_path), start, end)
            os.ftruncate(descriptor, item.size)
            os.fchmod(descriptor, stat.S_IMODE(item.mode) & 0o777 | stat.S_IRUSR | stat.S_IWUSR)
            os.utime(descriptor, ns=(item.mtime, item.mtime))
        if missing and top == FILES:
            target = self._place(PARTIAL, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(self._place(FILES, path), target)
            self._place(FILES, path).unlink()
            top = PARTIAL
        said["file"] = f"{top}{path}"
        if missing:
            said["missing"] = [list(each) for each in missing]
        self._count(top, item.size, path)

    def _staged(self, item: StagedItem, descriptor: int) -> list[Range]:
        """Write the staged bytes of a file to their places; the ranges that are missing or damaged."""
        assert item.file is not None  # noqa: S101  # for the type checker
        damaged: list[Range] = []
        try:
            source = self._work.open(item.file)
        except FileNotFoundError:
            return self._cannot(item.file.staged, "staged bytes are missing")
        try:
            for start, end in item.file.staged:
                while start < end:
                    stop = min(end, start - start % BLOCK_BYTES + BLOCK_BYTES)
                    try:
                        data = self._work.read_staged(item.file, source, start, stop)
                    except OSError as error:
                        damaged += self._cannot([(start, stop)], error.strerror or str(error))
                    else:
                        _write_all(descriptor, data, start)
                    start = stop
        finally:
            if source >= 0:
                os.close(source)
        return damaged

    def _cannot(self, ranges: Iterable[Range], why: str) -> list[Range]:
        self._result.why = why
        return list(ranges)

    def _is_readable(self, item: StagedItem) -> bool:
        """Whether the commit gives a byte of a file."""
        start = item.missing[0][0]
        return self._asked(lambda commit: next(iter(commit.read(os.fsdecode(item.old_path), start, start + 1))))

    def _asked(self, ask: Callable[[CommitBytes], object]) -> bool:
        """Ask the commit for something; whether it was answered. Nothing is asked any more after a failure."""
        if self._commit is None:
            return False
        try:
            ask(self._commit)
        except (PachmountError, StopIteration) as error:
            self._result.why = self._result.why or str(error) or "its bytes are not there"
            self._commit = None
            return False
        return True

    def _of_commit(self, descriptor: int, path: str, start: int, end: int) -> list[Range]:
        """Write bytes of the commit; the ranges that it did not give."""
        at = start

        def write(commit: CommitBytes) -> None:
            nonlocal at
            for piece in commit.read(path, start, end):
                _write_all(descriptor, piece, at)
                at += len(piece)

        self._asked(write)
        return [(at, end)] if at < end else []

    def _moved(self, item: StagedItem, path: str, said: dict[str, Any]) -> None:
        """Write what the commit has in a directory that was renamed, but for what is staged in it."""
        old = os.fsdecode(item.old_path)
        staged = {os.fsdecode(each.path) for each in self._work.items}

        def is_staged(file: str) -> bool:
            parts = file.split("/")
            return any("/".join(parts[:count]) in staged for count in range(path.count("/") + 2, len(parts) + 1))

        def write(commit: CommitBytes) -> None:
            for file, size in commit.files(old):
                target = path + file[len(old) :]
                if is_staged(target):
                    continue
                with self._create(FILES, target) as descriptor:
                    left = self._of_commit(descriptor, file, 0, size) if size else []
                if left:
                    raise DataError(f"'{file}' could not be read")
                self._count(FILES, size, target)

        if not self._asked(write):
            said["missing"] = f"what the commit has in {old}"
            self._result.missing.append(path)

    def _count(self, top: str, size: int, path: str) -> None:
        self._result.files += 1
        self._result.bytes += size
        if top == PARTIAL:
            self._result.partial += 1
            self._result.missing.append(path)

    def _place(self, top: str, path: str) -> Path:
        return self._top / top / path.lstrip("/")

    @contextlib.contextmanager
    def _create(self, top: str, path: str) -> Iterator[int]:
        place = self._place(top, path) if path else self._top / top
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, data: bytes, at: int = 0) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written
