"""Where staged changes live: a directory per mount, with the names in SQLite and the bytes in one file for each inode.

    <directory>/names.sqlite     inodes and directory entries, changed by whole transactions
    <directory>/ledger/          what proves `names.sqlite`, and can make it anew (pachmount/ledger)
    <directory>/data/17          staged bytes of a file, each at its place; where nothing is staged, a hole
    <directory>/reserve          room for what has to be written when the disk is full
    <directory>/lost+found/      what was damaged, and files that no row names, which go after two weeks

What a transaction wrote survives the death of the process at once, and that of the machine when it was `durable`.
Until then the disk may hold an earlier transaction's rows: what these need is not removed before.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import sqlite3
import struct
import threading
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from pachmount.errors import DataError, PachmountError, StorageFullError, StoreDamagedError
from pachmount.files import sync_directory
from pachmount.ledger import Ledger, open_ledger
from pachmount.overlay import rows, unnamed
from pachmount.overlay.extents import Extents
from pachmount.overlay.inodes import ROOT_ID, Directory, File, Inode
from pachmount.overlay.kept import DATA_DIRECTORY, NAMES_FILE, RESERVE_FILE, data_files, has_data, repair_hint
from pachmount.overlay.reserve import Reserve
from pachmount.overlay.staged_bytes import StagedBytes
from pachmount.overlay.sums import BLOCK_BYTES, PART_BLOCKS, Read, reader
from pachmount.paths import make_dirs

log = logging.getLogger(__name__)

BUSY_SECONDS = 10.0
REMOVED_AT_ONCE = 100
"""More files of staged bytes that are not needed any more, as after a large commit, are removed in the background."""
_BOOT = "boot"
"""The key under which the run of the machine is noted in which the store was last used."""


class Staging:
    """The staged changes in `directory`. One process uses it at a time; `load` comes first.

    Raises OSError for faults of the disk, ENOSPC when it is full; DataError for what is damaged or of another version.
    A store that is not whole is not opened: nothing in it is changed.
    """

    def __init__(self, directory: Path, boot: str = "") -> None:
        """`boot` names this run of the machine, for tests."""
        self.directory = directory
        self._boot = boot or _boot_id()
        self._data = directory / DATA_DIRECTORY
        path = directory / NAMES_FILE
        is_new = not path.exists()
        make_dirs(self._data)
        self._lock = threading.RLock()
        self._is_pending = False
        self._unneeded: list[int] = []
        self._removable: list[int] = []
        self._remover: threading.Thread | None = None
        self._next_number = 1
        self._reserve = Reserve(directory / RESERVE_FILE, path)
        self._use = _in_use(directory)
        try:
            try:
                self._ledger = self._opened(path)
            except OSError as error:
                if error.errno != errno.ENOSPC or not self._reserve.give():
                    raise
                self._ledger = self._opened(path)
        except BaseException:
            os.close(self._use)
            raise
        if is_new:
            for above in (self._data, directory, *directory.resolve().parents):
                with contextlib.suppress(PermissionError):  # then it is not ours, and was there before
                    sync_directory(above)

    def _opened(self, path: Path) -> Ledger:
        with faults(self.directory):
            connected: list[sqlite3.Connection] = []

            def connect() -> sqlite3.Connection:
                connected.append(_connected(path))
                return connected[0]

            ledger = open_ledger(path, connect, prepare=_prepare, has_data=has_data(self.directory), boot=self._boot)
            self._db = connected[0]
            return ledger

    def apply(
        self, changes: Iterable[rows.Change | rows.KeptSums], *, durable: bool = False, is_urgent: bool = False
    ) -> None:
        """All of the changes or none. `durable`: on the disk when it returns, with all that was applied before.

        What is durable or urgent may use the reserve on a full disk.
        """
        statements = list(changes)
        with self._lock:
            try:
                self._apply(statements, durable=durable)
            except OSError as error:
                may_use = durable or is_urgent
                if error.errno != errno.ENOSPC or not (self._reserve.give() if may_use else self.make_room()):
                    raise
                self._apply(statements, durable=durable)
            if durable:
                self._reserve.hold()

    def _apply(self, statements: list[rows.Change | rows.KeptSums], *, durable: bool) -> None:
        with faults(self.directory), self._ledger.transaction(durable=durable) as db:
            for change in statements:
                db.execute(*(change.change if isinstance(change, rows.KeptSums) else change))
        for change in statements:
            if isinstance(change, rows.KeptSums):
                change.done()
        self._is_pending = not durable
        if durable:
            unneeded, self._unneeded = self._unneeded, []
            self._remove_all(unneeded)

    def make_room(self) -> bool:
        """Remove now what is not needed any more; whether there was anything."""
        with self._lock:
            has_any = bool(self._unneeded or self._removable)
            if self._unneeded:
                self.apply([], durable=True)
            self._remove_removable()
            return has_any

    def _remove_all(self, numbers: Collection[int]) -> None:
        """Remove the files of staged bytes that nothing speaks of; many of them in the background."""
        self._removable += numbers
        if len(self._removable) <= REMOVED_AT_ONCE:
            self._remove_removable()
        elif self._remover is None:
            self._remover = threading.Thread(target=self._remove_removable, name="staging-remove", daemon=True)
            self._remover.start()

    def _remove_removable(self) -> None:
        while True:
            with self._lock:
                if not self._removable:
                    self._remover = None
                    return
                number = self._removable.pop()
            self._remove(number)

    @property
    def is_pending(self) -> bool:
        """Whether something was applied that a power loss would take, or waits to be removed."""
        return self._is_pending or bool(self._unneeded)

    def load(self) -> Directory | None:
        """The root directory with all that is staged below it; None if there is nothing yet.

        The rows of what has no name any more (it was open when the process died) are removed; files of staged bytes
        that no row names are set aside.
        """
        with faults(self.directory):
            inodes = {row[0]: rows.inode_of(row) for row in self._db.execute("SELECT * FROM inode")}
            entries = self._db.execute("SELECT directory, name, inode FROM entry").fetchall()
        for inode in inodes.values():
            inode.links = 2 if inode.is_directory else 0
        for directory_id, entry, inode_id in entries:
            directory = inodes.get(directory_id)
            child = None if inode_id is None else inodes.get(inode_id)
            if not isinstance(directory, Directory) or (inode_id is not None and child is None):
                raise damaged(self.directory, f"entry {entry!r} leads nowhere")
            directory.entries[bytes(entry)] = child
            if child is not None and not child.is_directory:
                child.links += 1
        kept = [inode for inode in inodes.values() if inode.links]
        changes: list[rows.Change | rows.KeptSums] = [rows.forget(each) for each in inodes.values() if not each.links]
        changes.append(rows.FORGET_STRAY_SUMS)
        opened = self._load_sums(inodes)
        if self.about(_BOOT) not in ("", self._boot):
            files = [inode for inode in kept if isinstance(inode, File) and self._settle(inode)]
            for file in files:
                changes += rows.keep(file)
            in_doubt = sum(1 for file in files if file.data.is_in_doubt)
            if in_doubt:
                log.warning("%s: the machine stopped, and %d files may be incomplete", self.directory, in_doubt)
        for file, parts in opened.items():
            self._close_parts(file, parts)
            changes += rows.keep(file)
        self.apply([*changes, rows.about(_BOOT, self._boot)], durable=True)
        numbers = {inode.data.number for inode in kept if isinstance(inode, File) and inode.extents}
        there = data_files(self.directory)
        self._next_number = max({*there, *numbers}, default=0) + 1
        unnamed.remove_old(self.directory)
        unnamed.set_aside(self.directory, [path for number, path in there.items() if number not in numbers])
        self.rotate()
        root = inodes.get(ROOT_ID)
        return root if isinstance(root, Directory) else None

    def _load_sums(self, inodes: dict[int, Inode]) -> dict[File, list[int]]:
        """Give the files their checksums; those that were being overwritten, each with its parts that were."""
        opened: dict[File, list[int]] = {}
        with faults(self.directory):
            for number, part, is_open, packed in self._db.execute("SELECT inode, part, is_open, sums FROM sums"):
                file = inodes.get(number)
                if isinstance(file, File) and file.extents:
                    file.data.sums.unpack(part, packed, is_open=bool(is_open))
                    if is_open and file.links:
                        opened.setdefault(file, []).append(part)
        return opened

    def _close_parts(self, file: File, parts: list[int]) -> None:
        """The process died while bytes were overwritten: do without the checksums of blocks that it had changed."""
        with contextlib.ExitStack() as stack:
            read: Read = lambda _start, _end: b""  # noqa: E731
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(self._data / str(file.data.number), os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
                read = reader(descriptor)
            for part in parts:
                ranges = Extents()
                ranges.add(part * PART_BLOCKS * BLOCK_BYTES, (part + 1) * PART_BLOCKS * BLOCK_BYTES)
                file.data.sums.give_up_wrong(read, file.extents, file.extents.common(ranges))
                file.data.sums.reopen(part)

    def _settle(self, file: File) -> bool:
        """The machine stopped: find out whether the staged bytes of a file are on the disk; whether that was needed."""
        if not file.data.is_unsynced:
            return False
        with contextlib.ExitStack() as opened:
            descriptor = None
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(self._data / str(file.data.number), os.O_RDONLY | os.O_CLOEXEC)
                opened.callback(os.close, descriptor)
            file.data.settle(file.extents, descriptor)
        return True

    def next_id(self) -> int:
        """An id that no inode here has."""
        with faults(self.directory):
            return int(self._db.execute("SELECT coalesce(max(id), 0) + 1 FROM inode").fetchone()[0])

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows that a statement selects, as they are."""
        with faults(self.directory):
            return self._db.execute(statement).fetchall()

    def about(self, key: str) -> str:
        """What was noted about these changes; "" if nothing was."""
        with faults(self.directory):
            row = self._db.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
        return "" if row is None else str(row[0])

    def note(self, key: str, value: str) -> None:
        """Note something about these changes, durably."""
        self.apply([rows.about(key, value)], durable=True)

    def open(self, data: StagedBytes) -> int:
        """A descriptor for staged bytes, to read and write; a file for them is made if there is none."""
        may_make = 0 if data.number and not data.is_in_doubt else os.O_CREAT
        if not data.number:
            with self._lock:
                data.number, self._next_number = self._next_number, self._next_number + 1
        try:
            return os.open(f"{self._data}/{data.number}", os.O_RDWR | may_make | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as error:
            raise OSError(errno.EIO, "staged bytes are missing", error.filename) from error

    def sync_data_names(self) -> None:
        """See to it that files of staged bytes that were made are found after a power loss."""
        sync_directory(self._data)

    def sync_everything(self) -> None:
        """Let the disk have all that was written to its file system."""
        descriptor = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _sync_file_system(descriptor)
        finally:
            os.close(descriptor)

    def discard(self, data: StagedBytes, *, at_once: bool) -> None:
        """Remove staged bytes that no row speaks of any more; not `at_once` if one may that is on the disk still."""
        if not data.number:
            return
        if at_once:
            self._remove(data.number)
            return
        with self._lock:
            self._unneeded.append(data.number)

    def _remove(self, number: int) -> None:
        try:
            os.unlink(f"{self._data}/{number}")
        except FileNotFoundError:
            pass
        except OSError as error:  # no row speaks of it any more: `load` tries again
            log.warning("%s stays: %s", error.filename, error.strerror)

    def rotate(self) -> None:
        """Begin a new ledger if this one is long. It takes a while; what fails is tried again another time."""
        try:
            if self._ledger.is_due:
                self._ledger.rotate()
        except (OSError, sqlite3.Error, PachmountError) as error:
            log.warning("%s: the ledger stays long: %s", self.directory, error)

    def close(self) -> None:
        self._remove_removable()
        with self._lock, faults(self.directory):
            use, self._use = self._use, -1
            if use < 0:  # it was closed before
                return
            try:
                self._ledger.close()
            finally:
                os.close(use)


def damaged(directory: Path, why: str) -> StoreDamagedError:
    """The error that tells of a damaged store."""
    return StoreDamagedError(f"staged changes in '{directory}' are damaged", why, repair_hint(directory.name))


def _in_use(directory: Path) -> int:
    """A descriptor that tells others, as long as it is open, that the store is in use: they need not compare it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # some file systems have no such locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "unknown"


def _sync_file_system(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        path.chmod(0o600)
        db.execute("PRAGMA journal_mode = WAL")
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection) -> bool:
    """Make the tables, or bring those of an older version up to date; whether anything was done."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == rows.SCHEMA_VERSION:
        return False
    if version not in (0, *rows.OLDER_VERSIONS):
        raise DataError("staged changes cannot be read", f"they are of version {version}, made by a newer pachmount")
    for statement in rows.SCHEMA:
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {rows.SCHEMA_VERSION}")
    return True


@contextlib.contextmanager
def faults(where: Path) -> Any:
    """SQLite's errors as those that a file operation can answer with."""
    try:
        yield
    except StorageFullError as error:
        raise OSError(errno.ENOSPC, str(error), str(where)) from error
    except StoreDamagedError as error:
        raise damaged(where, error.why or str(error)) from error
    except sqlite3.OperationalError as error:
        full = "full" in str(error)  # Python 3.10 does not give the code
        raise OSError(errno.ENOSPC if full else errno.EIO, f"{error}", str(where)) from error
    except (sqlite3.Error, struct.error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(where, str(error)) from error
