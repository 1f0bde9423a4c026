"""The SQLite file of a store: its schema, versions and connections."""

from __future__ import annotations

import errno
import queue
import shlex
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pachmount.errors import ConfigurationError, NotPermittedError, StorageFullError, StoreDamagedError
from pachmount.ledger import open_ledger
from pachmount.paths import local_store

SCHEMA_VERSION = 3
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
    length INTEGER NOT NULL,
    sum BLOB
) WITHOUT ROWID;
CREATE TABLE pack (id INTEGER PRIMARY KEY, used INTEGER NOT NULL);
CREATE TABLE unneeded_page (id INTEGER PRIMARY KEY, since INTEGER NOT NULL);
CREATE TABLE unneeded_chunk (name BLOB PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID;
"""

# From version n (the key) to n + 1: the statements that bring an older store up to date.
_UPGRADES = {
    1: """
ALTER TABLE page ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
UPDATE page SET crc = crc32(data);
""",
    2: """
ALTER TABLE chunk ADD COLUMN sum BLOB;
CREATE TABLE unneeded_page (id INTEGER PRIMARY KEY, since INTEGER NOT NULL);
CREATE TABLE unneeded_chunk (name BLOB PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID;
""",
}

UNSUMMED = ("page", "chunk", "unneeded_page", "unneeded_chunk")
"""Tables of which the ledger keeps no sum: what they lead to has checksums of its own, and they are large."""

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


def way_out(store: Path) -> str:
    """The command that mends a damaged store."""
    return "pachmount serve --repair" + ("" if store == local_store() else f" --root {shlex.quote(str(store))}")


class Database:
    """Connections to the metadata: many readers, one writer at a time; thread-safe."""

    def __init__(self, path: Path, *, has_data: bool = False) -> None:
        """Open the database at `path`, making it if it is new. `has_data`: there is content that it must know.

        Raises StoreDamagedError if it is not what its ledger says; then nothing has been changed.
        """
        self._path = path
        self._lock = threading.Lock()
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self.refusal: StoreDamagedError | None = None
        """Why nothing may be written, if that is so."""
        self.is_unproven = False
        """Whether the ledger begins only now, and so knows nothing of what the database may have lost before."""
        store = path.parent
        try:
            self.ledger = open_ledger(
                path,
                lambda: self._connect(cache_kib=16 * 1024),
                prepare=self._prepare,
                unsummed=UNSUMMED,
                has_data=has_data,
            )
            self.is_unproven = self.ledger.is_new
        except StoreDamagedError as error:
            raise StoreDamagedError(error.what, error.why, way_out(store)) from error
        except sqlite3.DatabaseError as error:
            if full(error):
                raise StorageFullError(f"cannot open the store {store}", "the disk is full") from error
            raise StoreDamagedError(
                f"cannot open the store {store}", f"{path.name} cannot be used ({error})", way_out(store)
            ) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFullError(f"cannot open the store {store}", "the disk is full") from error
            raise NotPermittedError(f"cannot open the store {store}", error.strerror or str(error)) from error

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
        if self.refusal is not None:
            raise self.refusal
        with self._lock, self.ledger.transaction() as db:
            yield db

    def close(self, patience: float = 5.0) -> None:
        """Close what nobody uses; wait up to `patience` seconds for a transaction that is being written.

        What is still running then is lost when the process ends, as a whole.
        """
        while not self._idle.empty():
            self._idle.get_nowait().close()
        if self._lock.acquire(timeout=patience):
            try:
                self.ledger.close()
            finally:
                self._lock.release()

    def shrink(self) -> None:
        """Give the space of removed rows back to the disk, and begin a new log, while nobody else uses the database."""
        with self._lock:
            self.ledger.shrink()

    def _connect(self, cache_kib: int) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.create_function("crc32", 1, zlib.crc32, deterministic=True)
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        return connection

    def _prepare(self, db: sqlite3.Connection) -> bool:
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
        return bool(scripts)
