"""The pages of all file trees, kept in the database and in a cache; writers collect new pages before they save them."""

from __future__ import annotations

import itertools
import sqlite3
import zlib

from xxhash import xxh3_64_intdigest

from pachmount.errors import DataError
from pachmount.localpfs.database import Database
from pachmount.localpfs.pages import Inner, Page, PageCache, decode

_CACHE_BYTES = 64 * 1024 * 1024
_SPILL_BYTES = 8 * 1024 * 1024
_SELECT = "SELECT data, crc FROM page WHERE id = ?"


class PageStore:
    """Reads pages; hands out the ids of new ones. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache = PageCache(_CACHE_BYTES)
        with database.read() as db:
            last = db.execute("SELECT max(id) FROM page").fetchone()[0] or 0
        self._ids = itertools.count(last + 1)

    def load(self, page_id: int) -> Page:
        page = self._cache.get(page_id)
        if page is None:
            with self._database.read() as db:
                row = db.execute(_SELECT, (page_id,)).fetchone()
            page = self._decoded(page_id, row)
        return page

    def load_with(self, db: sqlite3.Connection, page_id: int) -> Page:
        """`load` inside a transaction that may hold pages nobody else sees yet."""
        page = self._cache.get(page_id)
        if page is None:
            row = db.execute(_SELECT, (page_id,)).fetchone()
            page = self._decoded(page_id, row)
        return page

    def new_id(self) -> int:
        return next(self._ids)

    def _decoded(self, page_id: int, row: tuple[bytes, int] | None) -> Page:
        page = decode(intact(page_id, row))
        if row is not None:
            self._cache.put(page_id, page, len(row[0]))
        return page


def intact(page_id: int, row: tuple[bytes, int] | None) -> bytes:
    """The bytes of a page as they were written. Raises DataError if there is no such page, or another content."""
    if row is None:
        raise DataError(f"the store is damaged: page {page_id} is missing")
    data, stored = row
    if stored not in (checksum(page_id, data), zlib.crc32(data)):
        raise DataError(f"the store is damaged: page {page_id} is not as it was written")
    return data


def checksum(page_id: int, data: bytes) -> int:
    """What is stored with a page; before version 3 of the store it was a CRC, without the page's number."""
    return xxh3_64_intdigest(page_id.to_bytes(8, "little") + data) >> 1 | 1 << 32


class PageBatch:
    """New pages of one change: held in memory, written when they are many, and at the end if a root still needs them.

    Pages that were written early and are not needed in the end stay behind until the next sweep.
    """

    def __init__(self, store: PageStore, db: sqlite3.Connection) -> None:
        self._store = store
        self._db = db
        self._new: dict[int, bytes] = {}
        self._decoded: dict[int, Page] = {}
        self._held = 0

    def load(self, page_id: int) -> Page:
        page = self._decoded.get(page_id)
        if page is not None:
            return page
        data = self._new.get(page_id)
        if data is None:
            return self._store.load_with(self._db, page_id)
        page = self._decoded[page_id] = decode(data)
        return page

    def save(self, data: bytes) -> int:
        page_id = self._store.new_id()
        self._new[page_id] = data
        self._held += len(data)
        if self._held > _SPILL_BYTES:
            self._write(list(self._new))
        return page_id

    def finish(self, root: int) -> int:
        """Write every new page that the tree needs and drop the others; how many were written now."""
        needed: list[int] = []
        pending = [root]
        while pending:
            page_id = pending.pop()
            if page_id not in self._new:
                continue
            needed.append(page_id)
            page = self.load(page_id)
            if isinstance(page, Inner):
                pending.extend(page.children)
        self._write(needed)
        return len(needed)

    def _write(self, page_ids: list[int]) -> None:
        rows = ((i, self._new[i], checksum(i, self._new[i])) for i in page_ids)
        self._db.executemany("INSERT OR IGNORE INTO page VALUES (?, ?, ?)", rows)
        self._new.clear()
        self._decoded.clear()
        self._held = 0
