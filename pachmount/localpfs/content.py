"""File content: cut into chunks that are stored once however often they occur; how it is read.

A file is cut every 4 MiB, so its chunks and its hash depend on nothing but its bytes. A chunk is named by its hash:
BLAKE2b with 32 bytes, as a cluster does it, or SHA-256 if it is big, since most processors have that built in. A file's
hash is that of its chunks' names one after the other. The list of names of a file with several chunks is a chunk as
well, whose name is therefore the hash of the file.
"""

from __future__ import annotations

import itertools
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b, sha256
from typing import NamedTuple

from xxhash import xxh3_128

from pachmount.errors import DataError
from pachmount.localpfs.database import Database
from pachmount.localpfs.packs import Packs
from pachmount.localpfs.pages import HASH, Entry

CHUNK_BYTES = 4 * 1024 * 1024
_BIG = 1_000_000  # bytes; up to here hashes are those of a cluster

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


class Place(NamedTuple):
    """Where a chunk lies, and its checksum; without one it was stored before version 3 of the store."""

    pack: int
    start: int
    length: int
    sum: bytes | None


def checksum(name: bytes, *pieces: bytes | memoryview) -> bytes:
    """What `Place.sum` is of a chunk made of these pieces; far quicker than its name, which is in it."""
    made = xxh3_128(name)
    for piece in pieces:
        made.update(piece)
    return made.digest()


def read_chunk(packs: Packs, name: bytes, place: Place, cuts: Iterable[int] = ()) -> list[bytes]:
    """The bytes of a chunk, cut at these offsets. Raises DataError if they are not what was stored."""
    numbers = (place.pack, place.start, place.length)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise DataError(f"the store is damaged: the place of chunk {name.hex()} is not as it was written")
    pieces = [
        packs.read(place.pack, place.start + start, stop - start)
        for start, stop in itertools.pairwise((0, *cuts, place.length))
    ]
    if checksum(name, *pieces) != place.sum and not is_named(name, b"".join(pieces)):
        raise DataError(f"the store is damaged: chunk {name.hex()} in {place.pack}.pack is not as it was written")
    return pieces


class Content:
    """Reads chunks of finished calls, each of which is checked. Thread-safe."""

    def __init__(self, database: Database, packs: Packs) -> None:
        self._database = database
        self.packs = packs
        self._writers_lock = threading.Lock()
        self._writers = 0
        self._failed = False

    def place(self, name: bytes) -> Place | None:
        """Where a chunk lies, or None if the store does not have it."""
        with self._database.read() as db:
            row = db.execute("SELECT pack, start, length, sum FROM chunk WHERE name = ?", (name,)).fetchone()
        return None if row is None else Place(*row)

    def has(self, name: bytes) -> bool | None:
        """Whether a chunk is stored and sound; None if it is stored and damaged."""
        place = self.place(name)
        if place is None:
            return False
        try:
            read_chunk(self.packs, name, place)
        except (DataError, OSError) as error:
            _log.error("%s; it is stored anew", error)
            return None
        return True

    def chunk(self, name: bytes) -> bytes:
        """The bytes of a chunk. Raises DataError if it is missing or damaged."""
        return read_chunk(self.packs, name, self._known(name))[0]

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
            cuts = range(within or piece, place.length, piece)
            yield from read_chunk(self.packs, name, place, cuts)[1 if within else 0 :]
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
