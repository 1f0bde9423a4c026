"""File content: cut into chunks that are stored once however often they occur.

A file is cut every 4 MiB, so its chunks and its hash depend on nothing but its bytes. A chunk is named by its BLAKE2b
hash of 32 bytes, and a file's hash is that of its chunks' names one after the other. The list of names of a file with
several chunks is a chunk as well, whose name is therefore the hash of the file.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

from pachmount.errors import DataError
from pachmount.localpfs.database import Database, mark_garbage
from pachmount.localpfs.packs import Packs
from pachmount.localpfs.pages import HASH, Entry

CHUNK_BYTES = 4 * 1024 * 1024

_Place = tuple[int, int, int]  # pack, start, length


_log = logging.getLogger(__name__)


def digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=HASH).digest()


class Content:
    """Reads chunks of finished calls. Thread-safe."""

    def __init__(self, database: Database, packs: Packs) -> None:
        self._database = database
        self.packs = packs
        self._writers_lock = threading.Lock()
        self._writers = 0
        self._failed = False

    def place(self, name: bytes) -> _Place | None:
        """Where a chunk lies, or None if the store does not have it."""
        with self._database.read() as db:
            row: _Place | None = db.execute("SELECT pack, start, length FROM chunk WHERE name = ?", (name,)).fetchone()
        return row

    def chunk(self, name: bytes, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes [start, stop) of a chunk."""
        return _cut(self.packs, self._known(name), start, stop)

    def names(self, entry: Entry) -> list[bytes]:
        """The names of a file's chunks, in order."""
        if not entry.size:
            return []
        if entry.chunk:
            return [entry.chunk]
        listed = self.chunk(entry.hash)
        return [listed[at : at + HASH] for at in range(0, len(listed), HASH)]

    def pieces(self, entry: Entry, offset: int, piece: int) -> Iterator[bytes]:
        """The file's bytes from `offset` on, in pieces of at most `piece` bytes."""
        if offset >= entry.size:
            return
        first = offset // CHUNK_BYTES
        within = offset % CHUNK_BYTES
        for name in self.names(entry)[first:]:
            place = self._known(name)
            for start in range(within, place[2], piece):
                yield _cut(self.packs, place, start, min(start + piece, place[2]))
            within = 0

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around everything that makes a ChunkWriter: when the last of them ends, the space of failed ones is freed."""
        with self._writers_lock:
            self._writers += 1
        failed = True
        try:
            yield
            failed = False
        finally:
            with self._writers_lock:
                self._writers -= 1
                self._failed = self._failed or failed
                if self._failed and not self._writers:
                    self._give_back()

    def _give_back(self) -> None:
        try:
            with self._database.read() as db:
                used = dict(db.execute("SELECT id, used FROM pack").fetchall())
            self.packs.give_back(used)
            self._failed = False
        except (OSError, sqlite3.Error) as error:
            _log.warning("the space of a failed write is not free yet: %s", error)

    def _known(self, name: bytes) -> _Place:
        place = self.place(name)
        if place is None:
            raise DataError(f"the store is damaged: chunk {name.hex()} is missing")
        return place


class ChunkWriter:
    """Writes the chunks of one call; they count only after `record` in a transaction that commits."""

    _SPILL = 50_000

    def __init__(self, database: Database, content: Content) -> None:
        self._database = database
        self._content = content
        self._new: dict[bytes, _Place] = {}
        self._sealed = False
        self._lost = content.packs.lost

    def put(self, data: bytes) -> bytes:
        """Store a chunk unless the store has it; its name."""
        name = digest(data)
        if name not in self._new and self._content.place(name) is None:
            pack, start = self._content.packs.append(data)
            self._new[name] = (pack, start, len(data))
            if len(self._new) >= self._SPILL and not self._sealed:  # unreferenced for now, swept if this call fails
                with self._database.write() as db:
                    self.record(db)
                    mark_garbage(db)
        return name

    def get(self, name: bytes) -> bytes:
        place = self._new.get(name)
        return self._content.chunk(name) if place is None else _cut(self._content.packs, place, 0, None)

    def seal(self) -> None:
        """Before the transaction that ends the call: do the slow part of making it durable, open no other one."""
        self._sealed = True
        self._sync()

    def record(self, db: sqlite3.Connection) -> None:
        """Make the chunks durable and enter them into the database."""
        if not self._new:
            return
        self._sync()
        rows = [(name, *place) for name, place in self._new.items()]
        db.executemany("INSERT OR IGNORE INTO chunk VALUES (?, ?, ?, ?)", rows)
        used: dict[int, int] = {}
        for pack, start, length in self._new.values():
            used[pack] = max(used.get(pack, 0), start + length)
        db.executemany(
            "INSERT INTO pack VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET used = max(used, excluded.used)",
            used.items(),
        )
        self._new.clear()

    def abandon(self) -> None:
        """The call fails: what was not recorded is not needed."""
        self._content.packs.retract(self._new.values())

    def _sync(self) -> None:
        if self._new:
            self._content.packs.sync()
            if self._content.packs.lost != self._lost:
                raise OSError(errno.EIO, "the disk did not take what was written")


class FileBuilder:
    """Makes a file's entry out of appended bytes, on top of an earlier entry if one is given."""

    def __init__(self, writer: ChunkWriter, base: Entry | None = None) -> None:
        self._writer = writer
        self._names: list[bytes] = []
        self._tail = bytearray()
        self._size = 0
        if base is not None:
            self._take_over(base)

    def append(self, data: bytes) -> None:
        view = memoryview(data)
        self._size += len(data)
        while view:
            room = CHUNK_BYTES - len(self._tail)
            if not self._tail and len(view) >= CHUNK_BYTES:
                self._names.append(self._writer.put(bytes(view[:CHUNK_BYTES])))
            else:
                self._tail += view[:room]
                if len(self._tail) == CHUNK_BYTES:
                    self._flush()
            view = view[room:]

    def extend(self, entry: Entry) -> None:
        """Append the content of another file."""
        if not self._tail and self._size % CHUNK_BYTES == 0:
            before, names, tail = self._names, *self._opened(entry)
            self._names = before + names
            self._tail = tail
            self._size += entry.size
            return
        names, tail = self._opened(entry)
        for name in names:
            self.append(self._writer.get(name))
        self.append(bytes(tail))

    def finish(self) -> Entry:
        if self._tail:
            self._flush()
        listed = b"".join(self._names)
        if len(self._names) > 1:
            return Entry(False, self._size, self._writer.put(listed))
        return Entry(False, self._size, digest(listed), listed)

    def _take_over(self, base: Entry) -> None:
        self._names, self._tail = self._opened(base)
        self._size = base.size

    def _opened(self, entry: Entry) -> tuple[list[bytes], bytearray]:
        """The names of the full chunks, and the bytes of the last one if it is not full."""
        if not entry.size:
            return [], bytearray()
        listed = entry.chunk or self._writer.get(entry.hash)
        names = [listed[at : at + HASH] for at in range(0, len(listed), HASH)]
        if entry.size % CHUNK_BYTES == 0:
            return names, bytearray()
        return names[:-1], bytearray(self._writer.get(names[-1]))

    def _flush(self) -> None:
        self._names.append(self._writer.put(bytes(self._tail)))
        self._tail.clear()


def _cut(packs: Packs, place: _Place, start: int, stop: int | None) -> bytes:
    pack, offset, length = place
    return packs.read(pack, offset + start, (length if stop is None else min(stop, length)) - start)
