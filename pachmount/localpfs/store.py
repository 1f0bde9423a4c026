"""A store: one directory with metadata and content, owned by one process."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pachmount.errors import BusyError, DataError, NotPermittedError, StoreDamagedError
from pachmount.files import sync_directory
from pachmount.localpfs import sweep
from pachmount.localpfs.content import Content
from pachmount.localpfs.database import Database, way_out
from pachmount.localpfs.packs import Packs
from pachmount.localpfs.pagestore import PageBatch, PageStore
from pachmount.localpfs.staging import Staging
from pachmount.paths import make_dirs

_log = logging.getLogger(__name__)


class Store:
    """Everything below the root directory, open and locked. Thread-safe.

    Locks, in the order in which they are taken: the database's writer lock, then the page cache's or the packs' lock.
    """

    def __init__(self, root: Path, *, thorough: bool = False) -> None:
        """Open the store at `root`, making it if it is new.

        `thorough`: remove everything that is not needed, however little it is, and at once. If content is missing the
        store can be read only; otherwise raises StoreDamagedError if it is damaged, BusyError if another process has
        it, ConfigurationError if it is of a newer version, StorageFullError if the disk is full.
        """
        self.root = root
        self._lock_file = lock(root)
        try:
            self._packs = Packs(root / "packs")
            self.database = Database(root / "pfs.db", has_data=any(self._packs.sizes().values()))
            self.content = Content(self.database, self._packs)
            self.database.refusal = missing_content(self.database, self._packs, root)
            if self.database.refusal is None:
                self._start(thorough)
            elif thorough:
                raise self.database.refusal
            else:
                _log.error("%s; it can only be read; %s", self.database.refusal, self.database.refusal.hint)
            self.pages = PageStore(self.database)
        except BaseException:
            os.close(self._lock_file)
            raise
        self.news = News()

    @property
    def cluster_id(self) -> str:
        with self.database.read() as db:
            return str(db.execute("SELECT value FROM meta WHERE name = 'cluster'").fetchone()[0])

    @contextmanager
    def staging(self) -> Iterator[Staging]:
        """A place to collect one change in, for the length of the block."""
        if self.database.refusal is not None:
            raise self.database.refusal
        with self.content.writing():
            staging = Staging(self.database, self.pages, self.content)
            failed = True
            try:
                yield staging
                failed = False
            finally:
                staging.writer.close(failed=failed)

    def batch(self, db: sqlite3.Connection) -> PageBatch:
        return PageBatch(self.pages, db)

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A durable transaction whose end wakes all waiting calls."""
        with self.database.write() as db:
            yield db
        self.news.announce()

    def needs_sweep(self) -> bool:
        """Whether much is stored that is not needed any more."""
        if self.database.refusal is not None:
            return False
        with self.database.read() as db:
            return sweep.is_due(db)

    def sweep(self, wanted: Callable[[], bool]) -> None:
        """Remove what is long not needed, while no call is running; gives up when that is not `wanted` any more."""
        with self.database.write() as db:
            sweep.expire_filesets(db)
            swept = sweep.sweep(db, self.content, wanted, now=False)
        if swept:
            self._trim()

    def close(self) -> None:
        self.news.close()
        self.database.close()
        self._packs.close()
        os.close(self._lock_file)

    def _start(self, thorough: bool) -> None:
        self._initialise()
        swept = False
        try:
            with self.database.write() as db:
                sweep.expire_filesets(db)
                if thorough or sweep.is_due(db):
                    swept = sweep.sweep(db, self.content, now=thorough)
        except (DataError, sqlite3.OperationalError) as error:
            self._put_off(error, thorough)
        with self.database.read() as db:
            used = dict(db.execute("SELECT id, used FROM pack").fetchall())
            sparse = sweep.sparse_packs(db, *((1.0, sys.maxsize) if thorough else ())) if swept else []
        self._packs.start(used, fresh=bool(sparse))
        try:
            sweep.compact(self.database, self._packs, sparse)
            self._trim(at_once=thorough and swept)
        except (DataError, OSError, sqlite3.OperationalError) as error:
            self._put_off(error, thorough)

    def _trim(self, *, at_once: bool = False) -> None:
        """Cut off and remove what nothing in the database refers to, if it has been there for long, or `at_once`."""
        before = time.time() - sweep.GRACE_SECONDS
        with self.database.read() as db:
            used = dict(db.execute("SELECT id, used FROM pack").fetchall())
            row = db.execute("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'proven'").fetchone()
        if at_once:
            self._packs.trim(used, sys.maxsize)
        elif row is not None and row[0] / 1_000_000_000 <= before:
            self._packs.trim(used, before)

    def _initialise(self) -> None:
        with self.database.read() as db:
            is_made = db.execute("SELECT 1 FROM meta WHERE name = 'made'").fetchone() is not None
        if is_made and not self.database.is_unproven:
            return
        with self.database.write() as db:
            now = time.time_ns()
            if not is_made:
                db.execute("INSERT INTO project (name, description, created) VALUES ('default', '', ?)", (now,))
                db.execute("INSERT INTO meta VALUES ('cluster', ?), ('made', '1')", (secrets.token_hex(16),))
            # From now on the ledger would know if the database lost anything.
            db.execute("INSERT OR REPLACE INTO meta VALUES ('proven', ?)", (str(now),))
        sync_directory(self.root)

    def _put_off(self, error: Exception, thorough: bool) -> None:
        """Sweeping can wait, unless it is what was asked for."""
        if thorough:
            raise error
        _log.warning("cannot remove what is not needed from the store %s: %s", self.root, error)


class News:
    """Lets calls wait until something has changed in the store."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._number = 0
        self._closed = False

    @property
    def number(self) -> int:
        """Counts the announcements; look at it before looking at the store."""
        with self._condition:
            return self._number

    @property
    def closed(self) -> bool:
        with self._condition:
            return self._closed

    def announce(self) -> None:
        with self._condition:
            self._number += 1
            self._condition.notify_all()

    def close(self) -> None:
        """Wake everybody for the last time."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def wait(self, seen: int, still_wanted: Callable[[], bool]) -> None:
        """Return when there is news since `seen`, when nobody wants it any more, or when the store closes."""
        with self._condition:
            while self._number == seen and not self._closed and still_wanted():
                self._condition.wait(timeout=5)


def missing_content(database: Database, packs: Packs, root: Path) -> StoreDamagedError | None:
    """The error that says which packs are missing or too short; None if all are there."""
    with database.read() as db:
        missing = packs.missing(dict(db.execute("SELECT id, used FROM pack").fetchall()))
    what = f"the store {root} is damaged and can only be read"
    return (
        StoreDamagedError(what, missing, f"stop the server (pachmount daemon stop), then: {way_out(root)}")
        if missing
        else None
    )


def lock(root: Path) -> int:
    """Take the store for this process; the descriptor to close in the end. Raises BusyError if it is taken."""
    try:
        make_dirs(root)
        descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NotPermittedError(f"cannot use the directory {root} as a store", error.strerror or str(error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise BusyError(
            f"the store {root} is in use", "another server has it open", "stop that server, or choose another directory"
        ) from error
    return descriptor
