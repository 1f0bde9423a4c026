"""Writing file content: chunks on their way into the store, and files made of appended pieces."""

from __future__ import annotations

import errno
import sqlite3
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

from pachmount.localpfs.content import CHUNK_BYTES, Content, Place, checksum, digest, read_chunk
from pachmount.localpfs.database import Database, mark_garbage
from pachmount.localpfs.pages import HASH, Entry

_SPILL = 50_000  # chunks
_MANY_PIECES = 1024
_WORKERS = 2
_AHEAD = 3  # chunks on their way at the same time

Piece: TypeAlias = "bytes | memoryview"


class ChunkWriter:
    """Writes the chunks of one call; they count only after `record` in a transaction that commits.

    Big chunks are hashed and written by threads of its own, while the next bytes come in. `close` must be called.
    """

    def __init__(self, database: Database, content: Content) -> None:
        self._database = database
        self._content = content
        self._new: dict[bytes, Place] = {}
        self._healed: set[bytes] = set()  # the store has them at another place, where they are damaged
        self._lock = threading.Lock()  # of both
        self._sealed = False
        self._lost = content.packs.lost
        self._workers: ThreadPoolExecutor | None = None
        self._ahead = threading.Semaphore(_AHEAD)
        self._failed: BaseException | None = None

    def put(self, *pieces: Piece) -> bytes:
        """Store a chunk made of these pieces unless the store has it; its name."""
        name = digest(*pieces)
        with self._lock:
            if name in self._new:
                return name
        known = self._content.has(name)
        if known:
            return name
        place = Place(*self._content.packs.append(*pieces), checksum(name, *pieces))
        with self._lock:
            self._new.setdefault(name, place)  # two threads may have the same content
            if known is None:
                self._healed.add(name)
            many = len(self._new) >= _SPILL and not self._sealed
        if many:  # unreferenced for now, swept if this call fails
            with self._database.write() as db:
                self.record(db)
                mark_garbage(db)
        return name

    def put_soon(self, pieces: list[Piece]) -> Future[bytes]:
        """`put` in the background. Waits while much is under way; raises what an earlier one raised."""
        if self._workers is None:
            self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="chunks")
        self._ahead.acquire()
        if self._failed is not None:
            self._ahead.release()
            raise self._failed
        done = self._workers.submit(self.put, *pieces)
        done.add_done_callback(self._done)
        return done

    def get(self, name: bytes) -> bytes:
        with self._lock:
            place = self._new.get(name)
        return self._content.chunk(name) if place is None else read_chunk(self._content.packs, name, place)[0]

    def seal(self) -> None:
        """Before the transaction that ends the call: do the slow part of making it durable, open no other one."""
        self._sealed = True
        self._sync()

    def record(self, db: sqlite3.Connection) -> None:
        """Make the chunks durable and enter them into the database."""
        with self._lock:
            new = dict(self._new)
        self._sync()  # after that look: what other threads append meanwhile may be on disk or not
        rows = [(name, *place) for name, place in new.items()]
        db.executemany("INSERT OR IGNORE INTO chunk VALUES (?, ?, ?, ?, ?)", rows)
        healed = [row for row in rows if row[0] in self._healed]
        db.executemany("INSERT OR REPLACE INTO chunk VALUES (?, ?, ?, ?, ?)", healed)
        used: dict[int, int] = {}
        for pack, start, length, _ in new.values():
            used[pack] = max(used.get(pack, 0), start + length)
        db.executemany(
            "INSERT INTO pack VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET used = max(used, excluded.used)",
            used.items(),
        )
        with self._lock:
            for name in new:
                del self._new[name]

    def close(self, *, failed: bool) -> None:
        """The call has ended; if it failed, what was not recorded is not needed."""
        if self._workers is not None:
            self._workers.shutdown(cancel_futures=True)
        if failed:
            self._content.packs.retract(place[:3] for place in self._new.values())

    def _done(self, future: Future[bytes]) -> None:
        if not future.cancelled() and future.exception() is not None:
            self._failed = future.exception()
        self._ahead.release()

    def _sync(self) -> None:
        if self._new:
            self._content.packs.sync()
            if self._content.packs.lost != self._lost:
                raise OSError(errno.EIO, "the disk did not take what was written")


class FileBuilder:
    """Makes a file's entry out of appended bytes, on top of an earlier entry if one is given."""

    def __init__(self, writer: ChunkWriter, base: Entry | None = None) -> None:
        self._writer = writer
        self._names: list[bytes | Future[bytes]] = []
        self._tail: list[Piece] = []  # of the chunk that is not full yet; the bytes are copied nowhere
        self._held = 0  # bytes in it
        self._size = 0
        if base is not None:
            self._open(base)

    def append(self, data: Piece) -> None:
        view = memoryview(data)
        self._size += len(data)
        while view:
            part = view[: CHUNK_BYTES - self._held]
            self._tail.append(part)
            self._held += len(part)
            if self._held == CHUNK_BYTES:
                self._names.append(self._writer.put_soon(self._tail))
                self._tail, self._held = [], 0
            elif len(self._tail) > _MANY_PIECES:
                self._tail = [b"".join(self._tail)]
            view = view[len(part) :]

    def extend(self, entry: Entry) -> None:
        """Append the content of another file."""
        if not self._held:
            self._open(entry)
            return
        for name in self._chunks(entry):
            self.append(self._writer.get(name))

    def finish(self) -> Entry:
        if self._held:
            self._names.append(self._writer.put(*self._tail))
            self._tail, self._held = [], 0
        names = [name if isinstance(name, bytes) else name.result() for name in self._names]
        listed = b"".join(names)
        if len(names) > 1:
            return Entry(False, self._size, self._writer.put(listed))
        return Entry(False, self._size, digest(listed), listed)

    def _open(self, entry: Entry) -> None:
        """Take over a file's full chunks by name, and the bytes of the last one if it is not full."""
        names = self._chunks(entry)
        if entry.size % CHUNK_BYTES:
            self._tail = [self._writer.get(names.pop())]
            self._held = entry.size % CHUNK_BYTES
        self._names += names
        self._size += entry.size

    def _chunks(self, entry: Entry) -> list[bytes]:
        if not entry.size:
            return []
        listed = entry.chunk or self._writer.get(entry.hash)
        return [listed[at : at + HASH] for at in range(0, len(listed), HASH)]
