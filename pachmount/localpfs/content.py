"""File content: cut into chunks that are stored once however often they occur; how it is read.

A file is cut every 4 MiB, so its chunks and its hash depend on nothing but its bytes. A chunk is named by its hash:
BLAKE2b with 32 bytes, as a cluster does it, or SHA-256 if it is big, since most processors have that built in. A file's
hash is that of its chunks' names one after the other. The list of names of a file with several chunks is a chunk as
well, whose name is therefore the hash of the file.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b, sha256

from pachmount.errors import DataError
from pachmount.localpfs.database import Database
from pachmount.localpfs.packs import Packs
from pachmount.localpfs.pages import HASH, Entry

CHUNK_BYTES = 4 * 1024 * 1024
_BIG = 1_000_000  # bytes; up to here hashes are those of a cluster

Place = tuple[int, int, int]  # pack, start, length


_log = logging.getLogger(__name__)


def digest(*pieces: bytes | memoryview) -> bytes:
    """The name of the chunk that these pieces make one after the other."""
    made = sha256() if sum(map(len, pieces)) >= _BIG else blake2b(digest_size=HASH)
    for piece in pieces:
        made.update(piece)
    return made.digest()


def is_named(name: bytes, data: bytes) -> bool:
    """Whether this is the name of a chunk; version 1 of the store named big ones in another way."""
    return name in (digest(data), blake2b(data, digest_size=HASH).digest())


class Content:
    """Reads chunks of finished calls. Thread-safe."""

    def __init__(self, database: Database, packs: Packs) -> None:
        self._database = database
        self.packs = packs
        self._writers_lock = threading.Lock()
        self._writers = 0
        self._failed = False

    def place(self, name: bytes) -> Place | None:
        """Where a chunk lies, or None if the store does not have it."""
        with self._database.read() as db:
            row: Place | None = db.execute("SELECT pack, start, length FROM chunk WHERE name = ?", (name,)).fetchone()
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

    def _known(self, name: bytes) -> Place:
        place = self.place(name)
        if place is None:
            raise DataError(f"the store is damaged: chunk {name.hex()} is missing")
        return place


def _cut(packs: Packs, place: Place, start: int, stop: int | None) -> bytes:
    pack, offset, length = place
    return packs.read(pack, offset + start, (length if stop is None else min(stop, length)) - start)
