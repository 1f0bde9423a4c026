"""Blocks on disk: small ones in an SQLite file, large ones as files; bounded, checksummed, shared by daemons.

    <directory>/blocks.sqlite     one row a block: key, size, checksum, last use, the bytes themselves when small
    <directory>/ab/ab12…-7        block 7 of content ab12…

Files are renamed into place before their row is committed, so a row without a good file means a miss. Nothing is
fsynced: after a power loss a checksum or a missing file turns a block into a miss.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import threading
import time
import zlib
from pathlib import Path

from pachmount.cache.blocks import BlockKey

log = logging.getLogger(__name__)

INLINE_BYTES = 64 << 10
"""Blocks up to this size live in the SQLite file: cheaper than a file of their own."""
FREE_SPACE_FLOOR = 0.05
"""Part of the file system that the cache leaves free."""
EVICTION_SLACK = 0.05
"""Evict this much more than needed, so that not every write evicts."""
EVICTION_BATCH = 1000
RETRY_AFTER = 30.0
"""Seconds for which a disk that refused a write is left alone."""
SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS block (
    hash BLOB NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, checksum INTEGER NOT NULL,
    used INTEGER NOT NULL, data BLOB, UNIQUE (hash, number));
CREATE INDEX IF NOT EXISTS block_used ON block (used);
CREATE TABLE IF NOT EXISTS total (
    id INTEGER PRIMARY KEY CHECK (id = 0), bytes INTEGER NOT NULL, blocks INTEGER NOT NULL);
INSERT OR IGNORE INTO total VALUES (0, 0, 0);
CREATE TRIGGER IF NOT EXISTS block_added AFTER INSERT ON block
    BEGIN UPDATE total SET bytes = bytes + new.size, blocks = blocks + 1; END;
CREATE TRIGGER IF NOT EXISTS block_removed AFTER DELETE ON block
    BEGIN UPDATE total SET bytes = bytes - old.size, blocks = blocks - 1; END;
"""


class DiskBlocks:
    """A BlockStore in `directory`, never larger than `limit` bytes. Several processes may share it.

    Every fault of the disk is a miss or a lost write, logged once, never an error for the reader.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        self.directory = directory
        self.limit = limit
        self.disabled_reason = ""
        self._disabled_until = 0.0
        self._lock = threading.Lock()
        self._touched: dict[BlockKey, int] = {}
        self._total = (0, 0)
        self._db: sqlite3.Connection | None = None
        self._index = directory / "blocks.sqlite"
        self._open()

    @property
    def bytes_used(self) -> int:
        return self._total[0]

    @property
    def blocks(self) -> int:
        return self._total[1]

    def get(self, key: BlockKey) -> bytes | None:
        row = self._row(key, "size, checksum, data")
        if row is None:
            return None
        size, checksum, data = row
        if data is None:
            try:
                data = self._file(key).read_bytes()
            except OSError:
                data = b""
        if len(data) != size or zlib.crc32(data) != checksum:
            log.warning("dropping a damaged block of the cache: %s", self._file(key).name)
            self._remove([key])
            return None
        self._touched[key] = int(time.time())
        return bytes(data)

    def contains(self, key: BlockKey) -> bool:
        return self._row(key, "1") is not None

    def put_many(self, blocks: list[tuple[BlockKey, bytes]]) -> None:
        """Store blocks and make room for them. A disk that refuses is left alone for a while."""
        if self._db is None or self.limit == 0 or time.monotonic() < self._disabled_until:
            return
        now = int(time.time())
        rows = []
        blocks = _last_fitting(blocks, self.limit)
        try:
            if not self._index.exists():  # somebody deleted the cache
                self.close()
                self._open()
            self._make_room(sum(len(data) for _, data in blocks))
            for key, data in blocks:
                inline = len(data) <= INLINE_BYTES
                if not inline:
                    self._write_file(key, data)
                rows.append((key[0], key[1], len(data), zlib.crc32(data), now, data if inline else None))
            with self._lock:
                if self._db is None:
                    return
                self._db.execute("BEGIN")
                self._db.executemany("INSERT OR IGNORE INTO block VALUES (?, ?, ?, ?, ?, ?)", rows)
                self._record_uses(self._db)
                self._total = self._db.execute("SELECT bytes, blocks FROM total").fetchone()
                self._db.commit()
            self.disabled_reason = ""
        except (OSError, sqlite3.Error) as error:
            self._disable(f"cannot write: {error}")

    def clear(self) -> None:
        """Remove every block."""
        while keys := self._oldest(1 << 62):
            self._remove(keys)

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _open(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = self._connect()
        except sqlite3.DatabaseError as error:
            log.warning("the block cache is unreadable and is made anew: %s", error)
            with contextlib.suppress(OSError):
                shutil.rmtree(self.directory)
            try:
                self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._db = self._connect()
            except (OSError, sqlite3.Error) as second:
                self._disable(f"cannot open: {second}")
        except OSError as error:
            self._disable(f"cannot open: {error}")

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._index, timeout=5, check_same_thread=False)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA_VERSION):
                raise sqlite3.DatabaseError(f"schema version {version}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = OFF")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.executescript(_SCHEMA)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._total = db.execute("SELECT bytes, blocks FROM total").fetchone()
        except BaseException:
            db.close()
            raise
        self._index.chmod(0o600)
        self._sweep(db)
        return db

    def _sweep(self, db: sqlite3.Connection) -> None:
        """Remove files without a row, left by a crash or by a deleted index."""
        known = {self._file(key).name for key in db.execute("SELECT hash, number FROM block WHERE data IS NULL")}
        for folder in self.directory.iterdir():
            if folder.is_dir():
                for file in folder.iterdir():
                    if file.name not in known:
                        file.unlink(missing_ok=True)

    def _row(self, key: BlockKey, columns: str) -> tuple[int, int, bytes | None] | None:
        query = f"SELECT {columns} FROM block WHERE hash = ? AND number = ?"  # noqa: S608 (columns are ours)
        try:
            with self._lock:
                if self._db is None:
                    return None
                row: tuple[int, int, bytes | None] | None = self._db.execute(query, key).fetchone()
                return row
        except sqlite3.Error as error:
            self._disable(f"cannot read: {error}")
            return None

    def _file(self, key: BlockKey) -> Path:
        name = key[0].hex()
        return self.directory / name[:2] / f"{name}-{key[1]}"

    def _write_file(self, key: BlockKey, data: bytes) -> None:
        path = self._file(key)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(data)
            temporary.rename(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def _make_room(self, incoming: int) -> None:
        disk = shutil.disk_usage(self.directory)
        with self._lock:
            if self._db is not None:  # other processes may have added blocks
                self._total = self._db.execute("SELECT bytes, blocks FROM total").fetchone()
        over_limit = self._total[0] + incoming - self.limit
        over_floor = incoming - (disk.free - int(disk.total * FREE_SPACE_FLOOR))
        needed = max(over_limit, over_floor)
        if needed <= 0:
            return
        needed += int(self.limit * EVICTION_SLACK)
        while needed > 0 and (keys := self._oldest(needed)):
            needed -= self._remove(keys)
        if over_floor > 0 and needed > 0:
            raise OSError(f"less than {FREE_SPACE_FLOOR:.0%} of the disk is free")

    def _oldest(self, size: int) -> list[BlockKey]:
        """The least recently used blocks that make up `size` bytes, EVICTION_BATCH at most."""
        with self._lock:
            if self._db is None:
                return []
            with self._db:
                self._record_uses(self._db)
            query = "SELECT hash, number, size FROM block ORDER BY used LIMIT ?"
            keys: list[BlockKey] = []
            for digest, number, block_size in self._db.execute(query, (EVICTION_BATCH,)).fetchall():
                if size <= 0:
                    break
                keys.append((digest, number))
                size -= block_size
            return keys

    def _record_uses(self, db: sqlite3.Connection) -> None:
        """Write down when blocks were read last. Called with the lock held."""
        touched, self._touched = self._touched, {}
        uses = [(used, *key) for key, used in touched.items()]
        db.executemany("UPDATE block SET used = ? WHERE hash = ? AND number = ?", uses)

    def _remove(self, keys: list[BlockKey]) -> int:
        """Forget blocks, rows first; the number of bytes set free."""
        with self._lock:
            if self._db is None:
                return 0
            with self._db:
                before = self._total[0]
                self._db.executemany("DELETE FROM block WHERE hash = ? AND number = ?", keys)
                self._total = self._db.execute("SELECT bytes, blocks FROM total").fetchone()
                self._db.execute("PRAGMA incremental_vacuum")
        for key in keys:
            self._file(key).unlink(missing_ok=True)
        return before - self._total[0]

    def _disable(self, reason: str) -> None:
        if self.disabled_reason != reason:
            log.warning("the block cache in %s is off for now: %s", self.directory, reason)
        self.disabled_reason = reason
        self._disabled_until = time.monotonic() + RETRY_AFTER


def _last_fitting(blocks: list[tuple[BlockKey, bytes]], limit: int) -> list[tuple[BlockKey, bytes]]:
    """As many of the last blocks as fit into `limit` bytes together."""
    first, room = len(blocks), limit
    while first > 0 and len(blocks[first - 1][1]) <= room:
        first -= 1
        room -= len(blocks[first][1])
    return blocks[first:]
