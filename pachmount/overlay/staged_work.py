"""Staged changes as objects of their own: what a staged directory holds, read without a mount and the cluster.

Nothing here changes what is staged.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pachmount.cache.pages import Block
from pachmount.errors import DataError, NotFoundError, StoreDamagedError
from pachmount.ledger.compare import boot_id
from pachmount.names import Source
from pachmount.overlay import rows, snapshot
from pachmount.overlay.bytes import compare
from pachmount.overlay.difference import Change, Difference, Refused
from pachmount.overlay.extents import Extents
from pachmount.overlay.inodes import ROOT_ID, BaseReader, Directory, File, Inode
from pachmount.overlay.kept import (
    DATA_DIRECTORY,
    LOOK_SECONDS,
    NAMES_FILE,
    kept_in,
    repair_hint,
    why_unreadable,
)
from pachmount.overlay.snapshot import StagedDirectory, StagedFile, StagedLink, StagedSpecial
from pachmount.overlay.staged_bytes import IN_DOUBT

PIECE_BYTES = 1 << 20
CLUSTER_NOTE = "cluster"
"""The key under which a store tells the id of the cluster that its commit is of."""
Range = tuple[int, int]
ItemKind = Literal["file", "directory", "link", "special", "deleted", "attributes"]


@dataclass(frozen=True, eq=False)
class StagedItem:
    """A staged object at a path. `old_path`: where the commit has the bytes that are not staged, "" if all are.

    `missing`: ranges of a file that only the commit has. A directory with an `old_path` was renamed: the commit has
    what is in it. `attributes`: content and name are the commit's.
    """

    path: bytes
    kind: ItemKind
    size: int = 0
    old_path: bytes = b""
    missing: tuple[Range, ...] = ()
    doubtful: tuple[Range, ...] = ()
    file: StagedFile | None = None
    target: bytes = b""
    mode: int = 0
    mtime: int = 0

    @property
    def needs_commit(self) -> bool:
        """Whether the commit is needed to know what is at this path."""
        return bool(self.missing) or (self.kind == "directory" and bool(self.old_path))


def items_of(root: StagedDirectory) -> list[StagedItem]:
    """All that is staged, by path; the root itself and untouched directories on the way are left out."""
    found = (_item(path, staged) for path, staged in snapshot.everything(root) if path != b"/")
    return sorted((item for item in found if item is not None), key=lambda item: item.path)


def _item(path: bytes, staged: snapshot.Staged | None) -> StagedItem | None:
    if staged is None:
        return StagedItem(path, "deleted")
    about: dict[str, Any] = {"mode": staged.inode.mode, "mtime": staged.inode.mtime}
    if isinstance(staged, StagedDirectory):
        if staged.base == path:
            return None
        return StagedItem(path, "directory", old_path=staged.base or b"", **about)
    if isinstance(staged, StagedLink):
        return StagedItem(path, "link", target=staged.target, **about)
    if isinstance(staged, StagedSpecial):
        return StagedItem(path, "special", **about)
    if staged.base == path and not staged.staged and staged.size == staged.base_size:
        return StagedItem(path, "attributes", staged.size, path, file=staged, **about)
    mine = _extents(staged.staged)
    end = min(staged.base_size, staged.size) if staged.base is not None else 0
    missing = tuple((start, stop) for start, stop, is_mine in mine.pieces(0, end) if not is_mine)
    doubts = Extents()
    doubts.update(staged.inode.data.lost)
    doubts.update(staged.inode.data.mixed)
    old_path = staged.base if staged.base is not None and (missing or staged.base != path) else b""
    return StagedItem(path, "file", staged.size, old_path, missing, tuple(doubts), staged, **about)


def as_difference(items: Iterable[StagedItem]) -> Difference:
    """What a commit would change, as far as that is known without the commit that the items were staged over."""
    items = list(items)
    renamed = {item.old_path for item in items if item.old_path not in (b"", item.path)}
    found = Difference()
    for item in items:
        if item.doubtful:
            found.refused.append(Refused(item.path, IN_DOUBT))
        elif item.kind == "deleted" and item.path not in renamed:
            found.changes.append(Change("D", item.path))
        elif item.kind == "directory" and item.old_path:
            found.changes.append(Change("R", item.path, old_path=item.old_path))
        elif item.kind == "file" and item.file is not None:
            base, old_size = item.file.base, item.file.base_size
            if base is None:
                found.changes.append(Change("A", item.path, item.size, content=item.file))
            elif base == item.path:
                found.changes.append(Change("M", item.path, item.size, old_size, content=item.file))
            else:
                found.changes.append(Change("R", item.path, item.size, old_size, base, item.file))
        elif item.kind in ("link", "special"):
            found.ignored.append(item.path)
    return found


@dataclass(eq=False)
class StagedWork:
    """What is staged in one directory, as it was when it was read.

    `source` is the commit that was changed, None if nothing tells it; `cluster` the id of its cluster, "" if unknown;
    `paths` the part of it that was mounted. `since`: the oldest change, in seconds since the epoch. `noted`: what its
    mount noted of itself, as JSON.
    """

    place: Path
    source: Source | None
    cluster: str
    paths: tuple[str, ...]
    since: float
    root: StagedDirectory
    noted: str

    @classmethod
    def read(cls, place: Path, reader: BaseReader | None = None) -> StagedWork:
        """Read a staged directory; `reader` has the bytes of its commit. DataError if that is damaged or not there."""
        what = f"staged changes in '{place}' are damaged"
        try:
            problem = why_unreadable(place) if place.is_dir() else ""
            if problem:
                raise StoreDamagedError(what, problem, repair_hint(place.name))
            notes, inodes, entries, sums = _rows(place)
            root = _tree(place, inodes, entries)
            source, paths = _base(notes.get("base", ""))
        except (OSError, sqlite3.Error, struct.error, ValueError, KeyError, TypeError) as error:
            raise StoreDamagedError(what, str(error), repair_hint(place.name)) from error
        files = [inode for inode in inodes.values() if isinstance(inode, File)]
        opened = _give_sums(inodes, sums)
        for file in files:
            file.reader = reader
            if notes.get("boot", boot_id()) != boot_id():
                _settle(place, file)
        for file, part in opened:  # the process may have been replacing bytes, or does so now
            file.data.sums.forget(part)
        since = min((inode.ctime for inode in inodes.values() if inode.id != ROOT_ID), default=0) / 1e9
        taken = snapshot.take(root, copy=False)
        return cls(place, source, notes.get(CLUSTER_NOTE, ""), paths, since, taken, notes.get("base", ""))

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def items(self) -> list[StagedItem]:
        """All that is staged, by path."""
        return items_of(self.root)

    def content(self, file: StagedFile) -> Iterator[Block]:
        """The bytes of a file, in pieces. Raises OSError, and what the reader of the commit raises."""
        descriptor = self.open(file)
        try:
            for start, end, is_mine in _extents(file.staged).pieces(0, file.size):
                while start < end:
                    stop = min(start + PIECE_BYTES, end)
                    if is_mine:
                        yield self.read_staged(file, descriptor, start, stop)
                    elif file.base is not None and start < file.base_size and file.reader is not None:
                        stop = min(stop, file.base_size)
                        yield file.reader.read(file.base, start, stop - start)
                    else:
                        yield bytes(stop - start)
                    start = stop
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def open(self, file: StagedFile) -> int:
        """A descriptor of the staged bytes of a file; -1 if it has none. Raises OSError."""
        if not file.staged:
            return -1
        path = self.place / DATA_DIRECTORY / str(file.inode.data.number)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def read_staged(self, file: StagedFile, descriptor: int, start: int, end: int) -> bytes:
        """Staged bytes. Raises OSError EIO if they are missing or damaged."""
        data = os.pread(descriptor, end - start, start)
        if len(data) != end - start:
            raise OSError(errno.EIO, f"staged bytes are missing: they end at byte {start + len(data)}")
        try:
            compare(file.inode, file.inode.data.sums, _extents(file.staged), descriptor, start, data, always=True)
        except OSError:
            if self._is_as_it_was(file.inode):
                raise
        return data

    def _is_as_it_was(self, file: File) -> bool:
        """Whether nobody has kept a file anew since it was read here, as a mount does."""
        _, inodes, _, sums = _rows(self.place)
        now = inodes.get(file.id)
        if not isinstance(now, File) or now.ctime != file.ctime:
            return False
        return all(not is_open for number, _, is_open, _ in sums if number == file.id)


@dataclass(frozen=True)
class Look:
    """Staged changes in short. `source` is `project/repo@branch`, `bytes` their room on the disk, `since` that of the
    oldest one, in seconds since the epoch. `damaged` says why they cannot be read, "" if they can.
    """

    name: str
    source: str = ""
    commit: str = ""
    cluster: str = ""
    paths: tuple[str, ...] = ()
    changes: int = 0
    files: int = 0
    bytes: int = 0
    since: float = 0.0
    damaged: str = ""


def looks(directory: Path) -> list[Look]:
    """All staged directories below one; those without changes are left out."""
    return [look for look in (_look(directory / each.name, each.bytes) for each in kept_in(directory)) if look]


def _look(place: Path, size: int) -> Look | None:
    try:
        work = StagedWork.read(place)
    except DataError as error:
        return Look(place.name, bytes=size, damaged=error.why or error.what) if place.exists() else None
    items = work.items
    found = as_difference(items)
    changes = len(found.changes) + len(found.refused) + len(found.ignored)
    files = sum(1 for item in items if item.kind == "file")
    branch = "" if work.source is None else str(work.source.at(""))
    commit = "" if work.source is None else work.source.commit
    return Look(place.name, branch, commit, work.cluster, work.paths, changes, files, size, work.since)


def _rows(
    place: Path,
) -> tuple[dict[str, str], dict[int, Inode], list[tuple[int, bytes, int | None]], list[tuple[int, int, int, bytes]]]:
    if not (place / NAMES_FILE).is_file():
        raise DataError(f"no staged changes in '{place}'", f"it has no {NAMES_FILE}", "pachmount staged list")
    uri = f"{(place / NAMES_FILE).absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=LOOK_SECONDS)) as db:
        db.execute("BEGIN")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version != rows.SCHEMA_VERSION:
            raise DataError(f"staged changes in '{place}' cannot be read", f"their version is {version}")
        notes = {str(key): str(value) for key, value in db.execute("SELECT key, value FROM about")}
        inodes = {row[0]: rows.inode_of(row) for row in db.execute("SELECT * FROM inode")}
        entries = db.execute("SELECT directory, name, inode FROM entry").fetchall()
        sums = db.execute("SELECT inode, part, is_open, sums FROM sums").fetchall()
    return notes, inodes, entries, sums


def _give_sums(inodes: dict[int, Inode], sums: Iterable[tuple[int, int, int, bytes]]) -> list[tuple[File, int]]:
    """Give the files their checksums; the parts of files that were being overwritten."""
    opened = []
    for number, part, is_open, packed in sums:
        file = inodes.get(number)
        if isinstance(file, File) and file.extents:
            file.data.sums.unpack(part, packed, is_open=bool(is_open))
            if is_open:
                opened.append((file, part))
    return opened


def _tree(place: Path, inodes: dict[int, Inode], entries: list[tuple[int, bytes, int | None]]) -> Directory:
    """The root directory, with the names that the rows give. A directory has one name, and none is above itself."""
    damaged = f"staged changes in '{place}' are damaged"
    root = inodes.get(ROOT_ID)
    if not inodes and not entries:  # a mount of that name is being made, or nothing was ever written in it
        what = f"no staged changes under the name '{place.name}'"
        raise NotFoundError(what, "nothing is staged", "pachmount staged list")
    if not isinstance(root, Directory):
        raise StoreDamagedError(damaged, "they have no root directory", repair_hint(place.name))
    named: set[int] = {ROOT_ID}
    for directory_id, name, inode_id in entries:
        directory = inodes.get(directory_id)
        child = None if inode_id is None else inodes.get(inode_id)
        name = bytes(name)
        if not isinstance(directory, Directory) or (inode_id is not None and child is None):
            raise StoreDamagedError(damaged, f"entry {name!r} leads nowhere", repair_hint(place.name))
        if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
            raise StoreDamagedError(damaged, f"{name!r} is no name of a file", repair_hint(place.name))
        if isinstance(child, Directory):
            if child.id in named:
                raise StoreDamagedError(damaged, f"the directory {name!r} has two names", repair_hint(place.name))
            named.add(child.id)
        directory.entries[name] = child
    return root


def _base(noted: str) -> tuple[Source | None, tuple[str, ...]]:
    if not noted:
        return None, ()
    base = json.loads(noted)
    source = Source(str(base["project"]), str(base["repo"]), str(base["branch"]), str(base.get("commit", "")))
    return source, tuple(str(path) for path in base.get("paths", ()))


def _settle(place: Path, file: File) -> None:
    """The machine was started anew since: find out which staged bytes are on the disk."""
    if not file.data.is_unsynced:
        return
    with contextlib.ExitStack() as opened:
        descriptor = None
        with contextlib.suppress(FileNotFoundError):
            path = place / DATA_DIRECTORY / str(file.data.number)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            opened.callback(os.close, descriptor)
        file.data.settle(file.extents, descriptor)


def _extents(ranges: Iterable[Range]) -> Extents:
    extents = Extents()
    for start, end in ranges:
        extents.add(start, end)
    return extents
