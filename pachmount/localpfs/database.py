"""The SQLite file of a store: its schema, versions and connections."""

from __future__ import annotations

import queue
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pachmount.errors import ConfigurationError, DataError, StorageFullError

SCHEMA_VERSION = 2
PLENTY = 1_000_000

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE project (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    created INTEGER NOT NULL
);
CREATE TABLE repo (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL REFERENCES project (name),
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    description TEXT NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (project, name, type)
);
CREATE TABLE branch (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    repo INTEGER NOT NULL REFERENCES repo (key) ON DELETE CASCADE,
    name TEXT NOT NULL,
    head INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    UNIQUE (repo, name)
);
CREATE INDEX branch_head ON branch (head);
CREATE TABLE revision (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    repo INTEGER NOT NULL REFERENCES repo (key) ON DELETE CASCADE,
    branch INTEGER REFERENCES branch (key) ON DELETE SET NULL,
    parent INTEGER REFERENCES revision (key) ON DELETE SET NULL,
    origin INTEGER NOT NULL,
    description TEXT NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER,
    error TEXT NOT NULL DEFAULT '',
    base INTEGER NOT NULL,
    root INTEGER NOT NULL,
    problems TEXT NOT NULL,
    size INTEGER NOT NULL DEFAULT 0,
    updated INTEGER NOT NULL,
    UNIQUE (repo, id)
);
CREATE INDEX revision_id ON revision (id);
CREATE INDEX revision_parent ON revision (parent);
CREATE INDEX revision_branch ON revision (branch);
CREATE TABLE fileset (
    id TEXT PRIMARY KEY,
    root INTEGER NOT NULL,
    problems TEXT NOT NULL,
    deletions TEXT NOT NULL,
    expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE page (id INTEGER PRIMARY KEY, data BLOB NOT NULL, crc INTEGER NOT NULL DEFAULT 0);
CREATE TABLE chunk (
    name BLOB PRIMARY KEY,
    pack INTEGER NOT NULL,
    start INTEGER NOT NULL,
    length INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE pack (id INTEGER PRIMARY KEY, used INTEGER NOT NULL);
"""

# From version n (the key) to n + 1: the statements that bring an older store up to date.
_UPGRADES = {
    1: """
ALTER TABLE page ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
UPDATE page SET crc = crc32(data);
""",
}

_PAGE_BYTES = 16384
_IDLE_READERS = 16


def mark_garbage(db: sqlite3.Connection, pages: int = PLENTY) -> None:
    """Note that about so many pages, or plenty of anything, may be needed no more, for the sweep at the next start."""
    db.execute(
        "INSERT INTO meta VALUES ('garbage', ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        (pages,),
    )


def garbage(db: sqlite3.Connection) -> int:
    """The pages that were noted since the last sweep."""
    row = db.execute("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'garbage'").fetchone()
    return row[0] if row else 0


def full(error: sqlite3.Error) -> bool:
    """Whether this means that the disk has no space left."""
    return "disk is full" in str(error)


class Database:
    """Connections to the metadata: many readers, one writer at a time; thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        try:
            self._writer = self._connect(cache_kib=16 * 1024)
            self._prepare()
        except sqlite3.DatabaseError as error:
            if full(error):
                raise StorageFullError(f"cannot open the store {path.parent}", "the disk is full") from error
            raise DataError(f"cannot open the store {path.parent}", str(error)) from error

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the database for the length of the block."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._connect(cache_kib=1024)
        healthy = False
        try:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
            healthy = True
        finally:
            if not healthy and connection.in_transaction:
                connection.rollback()
            if self._idle.qsize() < _IDLE_READERS:
                self._idle.put(connection)
            else:
                connection.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """The one writing connection; the block is a durable transaction, rolled back when it raises."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.rollback()

    def close(self, patience: float = 5.0) -> None:
        """Close what nobody uses; wait up to `patience` seconds for a transaction that is being written.

        What is still running then is lost when the process ends, as a whole.
        """
        while not self._idle.empty():
            self._idle.get_nowait().close()
        if self._lock.acquire(timeout=patience):
            try:
                self._writer.close()
            finally:
                self._lock.release()

    def shrink(self) -> None:
        """Give the space of removed rows back to the disk, while nobody else uses the database."""
        with self._lock:
            self._writer.execute("VACUUM")
            self._writer.execute("PRAGMA wal_checkpoint (TRUNCATE)")

    def _connect(self, cache_kib: int) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.create_function("crc32", 1, zlib.crc32, deterministic=True)
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        return connection

    def _prepare(self) -> None:
        with self.write() as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if version > SCHEMA_VERSION:
                raise ConfigurationError(
                    f"the store {self._path.parent} has version {version}, this program knows up to {SCHEMA_VERSION}",
                    "a newer pachmount wrote it",
                    "update pachmount, or choose another directory",
                )
            scripts = [_SCHEMA] if version == 0 else [_UPGRADES[v] for v in range(version, SCHEMA_VERSION)]
            for script in scripts:
                for statement in script.split(";\n"):  # executescript would end the transaction
                    if statement.strip():
                        db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
