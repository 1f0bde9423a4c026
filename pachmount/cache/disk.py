"""Blocks on disk: appended to segment files, found by an SQLite index; bounded, checksummed, shared by daemons.

    <directory>/index.sqlite     where each block lies, its size and checksum; when each segment was used last
    <directory>/17.segment       blocks one after the other, written by one process, dropped as a whole

A block counts once its row is committed, which is after its bytes were written. Nothing is fsynced: after a power loss
a checksum, which covers the block's name too, turns what is damaged into a miss. A process reserves room for a segment
before it writes to it, so that all together never exceed the limit; the segment used longest ago is dropped first.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from xxhash import xxh3_64_intdigest

from pachmount.cache.blocks import BlockKey
from pachmount.cache.index import Index, Place, SegmentRow
from pachmount.cache.pages import Block, rounded
from pachmount.cache.segments import Segments, Writer
from pachmount.paths import make_dirs

log = logging.getLogger(__name__)

FREE_SPACE_FLOOR = 0.05
"""Part of the file system that the cache leaves free."""
SEGMENTS = 256
"""A full cache has about so many: what is dropped at once is one part in so many of it."""
MIN_SEGMENT_BYTES = 1 << 20
MAX_SEGMENT_BYTES = 64 << 20
INDEX_SHARE = 16
MAX_INDEX_MARGIN = 8 << 20
"""One part in so many of the limit, so many bytes at most, is left for the growth of the index between two looks."""
MIN_LOG_BYTES = 64 << 10
BIG_BYTES = 64 << 10
"""Blocks of this size start on a page and are written past the page cache."""
ROWS_PER_TRANSACTION = 1000
MAX_FAILURES = 3
"""So often in a row a segment may be dropped by another process while we write to it."""
RETRY_AFTER = 30.0
"""Seconds for which a disk that refused a write is left alone."""

_SQLITE_INTEGER = (1 << 63) - 1

Blocks = list[tuple[BlockKey, Block]]


class DiskBlocks:
    """A BlockStore in `directory`, never larger than `limit` bytes on disk. Several processes may share it.

    Every fault of the disk is a miss or a lost write, logged once, never an error for the reader. Without `create`, a
    directory that is not there is made by the first write only.
    """

    def __init__(self, directory: Path, limit: int, *, create: bool = True) -> None:
        self.directory = directory
        self.limit = limit
        self.segment_bytes = min(MAX_SEGMENT_BYTES, max(MIN_SEGMENT_BYTES, limit // SEGMENTS))
        self.bytes_used = 0
        self.blocks = 0
        self.disabled_reason = ""
        self._disabled_until = 0.0
        self._lock = threading.Lock()
        self._used: dict[int, float] = {}
        self._writer: Writer | None = None
        self._damaged = False
        self._segments = Segments(directory)
        self._index: Index | None = None
        if directory.exists() or (create and limit > 0):
            with self._lock, self._faults("cannot open"):
                self._open()

    def get(self, key: BlockKey) -> bytes | None:
        """The block's bytes, checked, or None."""
        place = self._find(key)
        if place is None:
            return None
        data = self._segments.read(place.segment, place.offset, place.size)
        if data is None or len(data) != place.size or checksum(key, data) != place.checksum:
            self._drop(key, place)
            return None
        self._used[place.segment] = time.time()
        return data

    def contains(self, key: BlockKey) -> bool:
        return self._find(key) is not None

    def locate(self, key: BlockKey) -> tuple[Path, int, int] | None:
        """The file in which a block lies, which may be dropped at any time, its offset and its size; or None."""
        place = self._find(key)
        return (self._segments.path(place.segment), place.offset, place.size) if place is not None else None

    def put_many(self, blocks: Blocks) -> None:
        """Store blocks and make room for them. A disk that refuses is left alone for a while."""
        if self.limit == 0 or time.monotonic() < self._disabled_until:
            return
        with self._lock, self._faults("cannot write"):
            index = self._current_index()
            fresh = {key: data for key, data in blocks if rounded(len(data)) <= self.limit and index.find(key) is None}
            rest = sorted(fresh.items(), key=_is_big, reverse=True)
            failures = 0
            while rest and failures < MAX_FAILURES:
                left = self._append(index, rest)
                failures = failures + 1 if left is None else 0
                rest = rest if left is None else left
            self._refresh(index)
            self.disabled_reason = ""

    def tidy(self) -> None:
        """Write down what was used, and look what other processes did. Called now and then while nothing is written."""
        if time.monotonic() < self._disabled_until:
            return
        with self._lock, self._faults("cannot read"):
            if self._index is not None and self._index.replaced:
                self._let_go()  # what was deleted takes disk space as long as it is open
            elif self._index is not None:
                self._refresh(self._index)

    def clear(self) -> int:
        """Remove every block, also those that other processes have written; the bytes set free."""
        with self._lock, self._faults("cannot clear"):
            if not self.directory.exists():
                return 0
            index = self._current_index()
            freed = index.disk_bytes
            with index.transaction():
                freed += sum(self._segments.remove(row.id) for row in index.segments())
                index.remove_segments([row.id for row in index.segments()])
                freed += sum(self._segments.remove(segment) for segment in self._segments.on_disk())
            index.shrink()
            self._refresh(index)
            return max(0, freed - index.disk_bytes)
        return 0

    def segments(self) -> list[SegmentRow]:
        """All segments, the one whose last use is longest ago first."""
        with self._lock, self._faults("cannot read"):
            return self._index.segments() if self._index is not None else []
        return []

    def contents(self) -> int:
        """How many contents have at least one block here."""
        with self._lock, self._faults("cannot read"):
            return self._index.contents() if self._index is not None else 0
        return 0

    def verify(self, is_right: Callable[[BlockKey, bytes], bool]) -> Iterator[tuple[BlockKey, int, bool]]:
        """Read all blocks; each with its size and whether it is good. What is not is removed."""
        for row in self.segments():
            blocks: list[tuple[BlockKey, Place]] = []
            with self._lock, self._faults("cannot read"):
                blocks = self._index.blocks_of(row.id) if self._index is not None else []
            for key, place in blocks:
                data = self._segments.read(place.segment, place.offset, place.size)
                good = data is not None and len(data) == place.size and checksum(key, data) == place.checksum
                good = good and data is not None and is_right(key, data)
                if good or self._drop(key, place):
                    yield key, place.size, good

    def close(self) -> None:
        with self._lock:
            with contextlib.suppress(OSError, sqlite3.Error):
                if self._index is not None and not self._index.replaced:
                    with self._index.transaction():
                        self._index.note_uses(self._taken_uses())
                    self._seal(self._index)
            self._let_go()

    def _find(self, key: BlockKey) -> Place | None:
        index = self._index
        if index is None:
            return None
        try:
            return index.find(key)
        except sqlite3.Error as error:
            if index is self._index and not index.replaced:  # else it was closed or deleted meanwhile
                self._failed("cannot read", error)
            return None

    def _drop(self, key: BlockKey, place: Place) -> bool:
        """Forget a block that cannot be read; False if it was gone before, which is no damage."""
        with self._lock, self._faults("cannot write"):
            index = self._index
            if index is not None and not index.replaced and index.remove_block(key, place):
                log.warning("dropping a damaged block of the cache: %s-%d", key[0].hex(), key[1])
                return True
        return False

    # --- everything below is called with the lock held

    def _append(self, index: Index, blocks: Blocks) -> Blocks | None:
        """Write as many blocks as fit into one segment and one transaction; the rest, or None if that did not work."""
        writer = self._writer_for(index, len(blocks[0][1]))
        if writer is None:
            return []
        big = _is_big(blocks[0])
        start = end = rounded(writer.filled) if big else writer.filled
        rows, pieces = [], []
        for key, data in blocks[:ROWS_PER_TRANSACTION]:
            size = rounded(len(data)) if big else len(data)
            if end + size > writer.reserved or _is_big((key, data)) != big:
                break
            rows.append((*key, writer.segment, end, len(data), checksum(key, data)))
            pieces.append(data)
            end += size
        self._keep_floor(index, writer, end - writer.filled)
        if big:
            self._segments.write_pages(writer, start, pieces)
        else:
            writer.write(start, pieces)
        if not index.add(writer.segment, end, rows):
            self._writer = None  # somebody cleared the cache, or made room for blocks of theirs
            return None
        writer.filled = end
        return blocks[len(rows) :]

    def _writer_for(self, index: Index, size: int) -> Writer | None:
        """A segment with room for `size` bytes; None if there can be none within the limit."""
        size = rounded(size)
        if self._writer is not None and rounded(self._writer.filled) + size <= self._writer.reserved:
            return self._writer
        self._seal(index)
        reserved = max(self.segment_bytes, size)
        with index.transaction():  # nobody else sees a segment before it is locked, nor adopts what has changed since
            writer = self._half_empty(index, reserved // 2 - size)
            held = rounded(writer.filled) if writer is not None else 0
            if not self._make_room(index, reserved - held, writer):
                return None
            if writer is None:
                writer = self._segments.create(index.new_segment(reserved))
            else:
                index.reserve(writer.segment, reserved)
        writer.reserved = reserved
        self._writer = writer
        return writer

    def _half_empty(self, index: Index, most: int) -> Writer | None:
        """A segment that an earlier process left with `most` bytes in it at most."""
        for row in index.segments():
            if row.filled <= most and (writer := self._segments.adopt(row.id, row.filled)) is not None:
                return writer
        return None

    def _make_room(self, index: Index, size: int, spare: Writer | None = None) -> bool:
        """Drop segments until `size` more bytes are within the limit; False if that is too much for it."""
        index.note_uses(self._taken_uses())
        rows = index.segments()
        margin = min(self.limit // INDEX_SHARE, MAX_INDEX_MARGIN)
        room = self.limit - margin - index.disk_bytes - size - sum(row.reserved for row in rows)
        for row in sorted(rows, key=_is_open):  # those that others write to come last
            if room < 0 and (spare is None or row.id != spare.segment):
                self._evict(index, row.id)
                room += row.reserved
        return room >= 0

    def _keep_floor(self, index: Index, writer: Writer, size: int) -> None:
        """Drop segments until `size` more bytes leave enough of the disk free. Raises OSError if that cannot be."""
        disk = shutil.disk_usage(self.directory)
        needed = size + int(disk.total * FREE_SPACE_FLOOR) - disk.free
        if needed <= 0:
            return
        with index.transaction():
            for row in index.segments():
                if needed > 0 and row.id != writer.segment:
                    needed -= self._evict(index, row.id)
        if needed > 0:
            raise OSError(f"less than {FREE_SPACE_FLOOR:.0%} of the disk is free")

    def _evict(self, index: Index, segment: int) -> int:
        """Drop a segment, within a transaction; the bytes set free."""
        index.remove_segments([segment])
        self._used.pop(segment, None)
        return self._segments.remove(segment)

    def _refresh(self, index: Index) -> None:
        """Learn what all processes together have, and hold the limit should the index have grown."""
        uses = self._taken_uses()
        rows = index.segments()
        over = sum(row.reserved for row in rows) + index.disk_bytes > self.limit
        if uses or over:
            with index.transaction():
                index.note_uses(uses)
                if over:
                    self._make_room(index, 0)
            rows = index.segments()
        self._segments.forget({row.id for row in rows})
        if self._writer is not None and all(row.id != self._writer.segment for row in rows):
            self._writer = None
        self.bytes_used = sum(rounded(row.filled) for row in rows) + index.disk_bytes
        self.blocks = sum(row.blocks for row in rows)

    def _taken_uses(self) -> list[tuple[int, float]]:
        used, self._used = self._used, {}
        return list(used.items())

    def _seal(self, index: Index) -> None:
        """Stop appending to our segment."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.cut()
            index.seal(writer.segment)

    def _current_index(self) -> Index:
        """The index, opened anew if somebody deleted the cache or it turned out to be damaged."""
        index = self._index
        if index is None or self._damaged or index.replaced:
            self._let_go()
            index = self._open()
        return index

    def _open(self) -> Index:
        make_dirs(self.directory)
        path = self.directory / "index.sqlite"
        log_bytes = min(MAX_INDEX_MARGIN // 2, max(MIN_LOG_BYTES, self.limit // INDEX_SHARE // 4))
        try:
            if self._damaged:
                raise sqlite3.DatabaseError(self.disabled_reason)
            index = Index(path, log_bytes)
            self._sweep(index)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            log.warning("the block cache is unreadable and is made anew: %s", error)
            shutil.rmtree(self.directory)
            make_dirs(self.directory)
            index = Index(path, log_bytes)
        self._damaged = False
        self._index = index
        rows = index.segments()
        self.bytes_used = sum(rounded(row.filled) for row in rows) + index.disk_bytes
        self.blocks = sum(row.blocks for row in rows)
        return index

    def _sweep(self, index: Index) -> None:
        """Bring files and index together after a crash. What a living process writes to is left alone."""
        with index.transaction():
            files = self._segments.on_disk()
            rows = index.segments()
            index.remove_segments([row.id for row in rows if row.id not in files])
            for row in rows:
                if _is_open(row) and self._segments.adopt(row.id, row.filled) is not None:
                    index.seal(row.id)
            for orphan in files - {row.id for row in rows}:
                self._segments.remove(orphan)

    def _let_go(self) -> None:
        index, self._index, self._writer = self._index, None, None
        self._segments.forget()
        self.bytes_used = self.blocks = 0
        if index is not None:
            index.close()

    @contextlib.contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            if self._index is not None and self._index.replaced:
                log.info("the block cache in %s was deleted and is made anew: %s: %s", self.directory, what, error)
                self._let_go()
            else:
                self._failed(what, error)

    def _failed(self, what: str, error: Exception) -> None:
        """Leave the disk alone for a while; a damaged index is made anew after that."""
        self._damaged |= isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        reason = f"{what}: {error}"
        if self.disabled_reason != reason:
            log.warning("the block cache in %s is off for now: %s", self.directory, reason)
        self.disabled_reason = reason
        self._disabled_until = time.monotonic() + RETRY_AFTER


def checksum(key: BlockKey, data: Block) -> int:
    """Of a block and its name, so that a block in another one's place is noticed."""
    return xxh3_64_intdigest(data, xxh3_64_intdigest(key[0], key[1])) & _SQLITE_INTEGER


def _is_big(block: tuple[BlockKey, Block]) -> bool:
    return len(block[1]) >= BIG_BYTES


def _is_open(row: SegmentRow) -> bool:
    """Whether a process appends to the segment, or died before it could say that it does not any more."""
    return row.reserved > rounded(row.filled)
