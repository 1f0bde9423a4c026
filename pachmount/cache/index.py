"""The index of the blocks on disk: which block lies where, in SQLite, so that daemons can share it.

Every method may raise sqlite3.Error. The index is never fsynced: a crash of the machine costs the cache at worst.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pachmount.cache.blocks import BlockKey
from pachmount.cache.pages import rounded

SCHEMA_VERSION = 3
IDLE_READERS = 16
BUSY_SECONDS = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS segment (
    id INTEGER PRIMARY KEY AUTOINCREMENT, reserved INTEGER NOT NULL, filled INTEGER NOT NULL DEFAULT 0,
    blocks INTEGER NOT NULL DEFAULT 0, used REAL NOT NULL);
CREATE TABLE IF NOT EXISTS block (
    hash BLOB NOT NULL, number INTEGER NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL,
    size INTEGER NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (hash, number)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS block_segment ON block (segment);
"""
_FIND = "SELECT segment, offset, size, checksum FROM block WHERE hash = ? AND number = ?"


class Place(NamedTuple):
    """Where a block lies: `size` bytes at `offset` of a segment, and their checksum."""

    segment: int
    offset: int
    size: int
    checksum: int


class SegmentRow(NamedTuple):
    """A segment: bytes it may take on disk, bytes filled, blocks in it, when it was used last (seconds)."""

    id: int
    reserved: int
    filled: int
    blocks: int
    used: float


class Index:
    """`find` may be called by any thread; everything else by one at a time. `log_bytes`: when the log is folded in."""

    def __init__(self, path: Path, log_bytes: int) -> None:
        self._path = path
        self._log_bytes = log_bytes
        self._closed = False
        self._idle: list[sqlite3.Connection] = []
        self._db = self._connect()
        try:
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            path.chmod(0o600)  # the log gets the same mode
            if version not in (0, SCHEMA_VERSION):
                raise sqlite3.DatabaseError(f"schema version {version}")
            self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(_SCHEMA)
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._identity = _identity(path)
        except BaseException:
            self._db.close()
            raise

    @property
    def replaced(self) -> bool:
        """Whether the file was deleted, or another one is in its place."""
        return _identity(self._path) != self._identity

    @property
    def disk_bytes(self) -> int:
        """What the index with its log takes on disk."""
        total = 0
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                total += os.stat(f"{self._path}{suffix}").st_blocks * 512
        return total

    def find(self, key: BlockKey) -> Place | None:
        try:
            db = self._idle.pop()
        except IndexError:
            db = self._connect("rw")
        try:
            row = db.execute(_FIND, key).fetchone()
        except BaseException:
            db.close()
            raise
        if self._closed or len(self._idle) >= IDLE_READERS:
            db.close()
        else:
            self._idle.append(db)
        return Place(*row) if row is not None else None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and no other process writes meanwhile."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def segments(self) -> list[SegmentRow]:
        """All segments, the one whose last use is longest ago first."""
        query = "SELECT id, reserved, filled, blocks, used FROM segment ORDER BY used, id"
        return [SegmentRow(*row) for row in self._db.execute(query)]

    def new_segment(self, reserved: int) -> int:
        """Its id, which no other segment ever had."""
        row = self._db.execute("INSERT INTO segment (reserved, used) VALUES (?, ?)", (reserved, time.time()))
        assert row.lastrowid is not None  # noqa: S101 (it was an INSERT)
        return row.lastrowid

    def reserve(self, segment: int, size: int) -> None:
        """Set what a segment may take on disk."""
        self._db.execute("UPDATE segment SET reserved = ? WHERE id = ?", (size, segment))

    def seal(self, segment: int) -> None:
        """Give back what a segment does not use of its reservation."""
        row = self._db.execute("SELECT filled FROM segment WHERE id = ?", (segment,)).fetchone()
        if row is not None:
            self.reserve(segment, rounded(row[0]))

    def add(self, segment: int, filled: int, rows: list[tuple[bytes, int, int, int, int, int]]) -> bool:
        """Enter blocks that were written to a segment; False (and nothing is entered) if the segment is gone."""
        with self.transaction():
            update = "UPDATE segment SET filled = ?, used = ? WHERE id = ?"
            if self._db.execute(update, (filled, time.time(), segment)).rowcount != 1:
                return False
            added = self._db.executemany("INSERT OR IGNORE INTO block VALUES (?, ?, ?, ?, ?, ?)", rows).rowcount
            self._db.execute("UPDATE segment SET blocks = blocks + ? WHERE id = ?", (added, segment))
        return True

    def note_uses(self, uses: Iterable[tuple[int, float]]) -> None:
        """Write down when segments were read last."""
        self._db.executemany("UPDATE segment SET used = max(used, ?2) WHERE id = ?1", uses)

    def blocks_of(self, segment: int) -> list[tuple[BlockKey, Place]]:
        query = "SELECT hash, number, segment, offset, size, checksum FROM block WHERE segment = ? ORDER BY offset"
        return [((row[0], row[1]), Place(*row[2:])) for row in self._db.execute(query, (segment,))]

    def contents(self) -> int:
        """How many contents have at least one block here."""
        return int(self._db.execute("SELECT count(DISTINCT hash) FROM block").fetchone()[0])

    def remove_block(self, key: BlockKey, place: Place) -> bool:
        """Forget a block; False if it is not there any more."""
        with self.transaction():
            delete = "DELETE FROM block WHERE hash = ? AND number = ? AND segment = ? AND offset = ?"
            if self._db.execute(delete, (*key, place.segment, place.offset)).rowcount == 0:
                return False
            self._db.execute("UPDATE segment SET blocks = blocks - 1 WHERE id = ?", (place.segment,))
        return True

    def remove_segments(self, segments: Iterable[int]) -> None:
        """Forget segments and their blocks."""
        for segment in segments:
            self._db.execute("DELETE FROM block WHERE segment = ?", (segment,))
            self._db.execute("DELETE FROM segment WHERE id = ?", (segment,))

    def shrink(self) -> None:
        """Give the disk space of what was removed back."""
        self._db.execute("PRAGMA incremental_vacuum").fetchall()
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()
        self._db.close()

    def _connect(self, mode: str = "rwc") -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode={mode}"
        db = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
        try:
            db.execute("PRAGMA synchronous = OFF")
            db.execute(f"PRAGMA wal_autocheckpoint = {self._log_bytes // 4096}")
            db.execute(f"PRAGMA journal_size_limit = {self._log_bytes}")
            db.execute("PRAGMA cache_size = -1024")
        except BaseException:
            db.close()
            raise
        return db


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino
