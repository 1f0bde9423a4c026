"""Reading and writing the bytes of staged files: staged ranges from the local disk, the rest from the commit."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator

from xxhash import xxh3_64

from pachmount.cache.pages import Block
from pachmount.errors import BusyError
from pachmount.overlay import rows
from pachmount.overlay.extents import Extents
from pachmount.overlay.inodes import BaseReader, File
from pachmount.overlay.snapshot import StagedFile
from pachmount.overlay.staged_bytes import IN_DOUBT, StagedBytes
from pachmount.overlay.staging import Staging
from pachmount.overlay.sums import BLOCK_BYTES, DAMAGED, PART_BLOCKS, Sums, blocks, checksum, reader

COPY_BYTES = 1 << 20
MANY = 16
"""More files than these are synced with the whole file system that they are on."""


class Budget:
    """How many bytes are staged, and how many may be."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Count `size` bytes more (fewer if negative). Raises OSError ENOSPC if that is over the limit."""
        with self._lock:
            if size > 0 and self.used + size > self.limit:
                raise OSError(errno.ENOSPC, f"no more than {self.limit} bytes may be staged")
            self.used += size


class Bytes:
    """Reads and writes `File`s. Raises OSError for faults of the staging disk, and what the base reader raises."""

    def __init__(self, staging: Staging, limit: int) -> None:
        """At most `limit` bytes are staged at a time."""
        self.budget = Budget(limit)
        self._staging = staging
        self._unsynced: set[File] = set()

    def read(self, file: File, offset: int, size: int) -> Block:
        """The bytes [offset, offset + size), fewer only at the end of the file."""
        with file.lock:
            end = min(offset + size, file.size)
            pieces = list(file.extents.pieces(offset, end)) if offset < end else []
            base, base_size, reader = file.base, file.base_size, file.reader
            staged = {start: self._pread(file, start, stop) for start, stop, mine in pieces if mine}
        found: list[Block] = []
        for start, stop, mine in pieces:
            if mine:
                found.append(staged[start])
                continue
            middle = min(max(start, base_size), stop)
            if base is not None and reader is not None and start < middle:
                found.append(_of_base(reader, base, start, middle))
            found.append(bytes(stop - middle))
        found = [piece for piece in found if len(piece)]
        return found[0] if len(found) == 1 else b"".join(found)

    def frozen(self, staged: StagedFile, start: int = 0) -> Iterator[Block]:
        """The bytes of a file as it was, from `start` on, in pieces. Raises BusyError if it was changed meanwhile."""
        extents = Extents()
        for begin, end in staged.staged:
            extents.add(begin, end)
        for begin, end, mine in extents.pieces(start, staged.size):
            while begin < end:
                stop = min(begin + COPY_BYTES, end)
                if mine:
                    yield self._pread_frozen(staged, begin, stop)
                elif begin < staged.base_size and staged.base is not None and staged.reader is not None:
                    stop = min(stop, staged.base_size)
                    yield _of_base(staged.reader, staged.base, begin, stop)
                else:
                    yield bytes(stop - begin)
                begin = stop

    def head(self, staged: StagedFile, size: int) -> bytes:
        """The first bytes of a file as it was, `size` at most. Raises BusyError if it was changed meanwhile."""
        found = bytearray()
        for piece in self.frozen(staged):
            found += piece
            if len(found) >= size:
                break
        return bytes(found[:size])

    def own(self, file: File) -> None:
        """Stage all bytes of a file that are the commit's, so that it does without it. It may take a while."""
        with file.lock:
            gaps = [(start, stop) for start, stop, mine in file.extents.pieces(0, file.base_size) if not mine]
        for start, stop in gaps:
            while start < stop:
                end = min(start + COPY_BYTES, stop)
                data = self.read(file, start, end - start)
                with file.lock:
                    for begin, until, mine in list(file.extents.pieces(start, min(end, file.base_size))):
                        if not mine:
                            self._stage(file, begin, bytes(data[begin - start : until - start]))
                start = end
        with file.lock:
            file.base, file.base_size, file.dirty = None, 0, True

    def write(self, file: File, offset: int, data: bytes) -> int:
        """Stage bytes; how many, which is all. After an error, a part of them may have replaced staged ones."""
        with file.lock:
            self._stage(file, offset, data)
            file.size = max(file.size, offset + len(data))
            _changed(file)
        return len(data)

    def allocate(self, file: File, offset: int, size: int, *, zeros: bool, grows: bool) -> None:
        """`fallocate`: see to it that there is room; the bytes become zeros, the file as long as that, if so asked.

        Raises OSError ENOSPC if there is no room.
        """
        with file.lock:
            end = offset + size
            holes = [(start, stop) for start, stop, mine in file.extents.pieces(offset, end) if not mine]
            self._check_room(sum(stop - start for start, stop in holes))
            if zeros:
                for start, stop, mine in list(file.extents.pieces(offset, min(end, file.size))):
                    stop = stop if mine else min(stop, file.base_size)
                    while start < stop:
                        piece = min(COPY_BYTES, stop - start)
                        self._stage(file, start, bytes(piece))
                        start += piece
            if grows:
                file.size = max(file.size, end)
            if zeros or grows:
                _changed(file)

    def resize(self, file: File, size: int, keep: Callable[[bool], None]) -> None:
        """Cut the file, or let it grow by a hole. `keep` keeps the inode, if it is told so durably."""
        with file.lock:
            if file.extents and size % BLOCK_BYTES:
                self._look(file, size, size + 1)
            before = file.extents, file.size, file.base_size, file.data, file.data.copy()
            staged = file.extents.copy()
            staged.cut(size)
            lost = file.extents.without(staged)
            needs_sync = bool(lost.without(file.data.never_synced()))
            file.extents, file.size, file.base_size = staged, size, min(file.base_size, size)
            if not staged:
                file.data = StagedBytes(is_careful=file.data.is_careful)
            else:
                file.data.cut(size)
            _changed(file)
            try:
                keep(needs_sync and bool(staged))
            except BaseException:
                file.extents, file.size, file.base_size, file.data, data = before
                file.data.restore(data)
                raise
            self.budget.take(-lost.size)
            if not lost:
                return
            if not staged:
                self.release(file)
                self._staging.discard(before[3], at_once=not needs_sync)
            else:
                os.ftruncate(self._open(file), size)

    def sync(self, files: Collection[File]) -> None:
        """See to it that the staged bytes of files survive a power loss, once their inodes are kept durably."""
        begun = []
        worked = False
        try:
            for file in files:
                with file.lock:
                    self._unsynced.discard(file)
                    if file.data.is_unsynced:
                        begun.append((file, file.data, file.data.begin_sync()))
            self._flush([(file, data) for file, data, _ in begun])
            worked = True
        finally:
            for file, data, taken in begun:
                with file.lock:
                    data.end_sync(taken, worked=worked)
                    if data.is_unsynced:
                        self._unsynced.add(file)

    def unsynced(self) -> list[File]:
        """Files of which a power loss would take something."""
        return list(self._unsynced)

    def found_unsynced(self, file: File) -> None:
        """A file was not synced when it was last kept, by another process."""
        self._unsynced.add(file)

    def check(self, file: File) -> None:
        """Make the checksums of what was written since they were made last."""
        with file.lock:
            if file.data.sums.changed and file.extents:
                file.data.sums.make(lambda start, end: os.pread(self._open(file), end - start, start), file.extents)

    def release(self, file: File) -> None:
        """Nobody has the file open any more."""
        with file.lock:
            descriptor, file.descriptor = file.descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def forget(self, file: File) -> None:
        """The file is gone: its staged bytes are not needed any more."""
        with file.lock:
            size, never_synced = file.extents.size, file.data.never_synced()
            rest, file.extents = file.extents.without(never_synced), Extents()
            self.drop(file, size, at_once=not rest)

    def drop(self, file: File, size: int, *, at_once: bool = False) -> None:
        """Remove staged bytes, `size` of them, which are not among the file's any more.

        Not `at_once` if a row speaks of them as long as nothing was applied durably.
        """
        with file.lock:
            self.release(file)
            self.budget.take(-size)
            data, file.data = file.data, StagedBytes()
            self._unsynced.discard(file)
            self._staging.discard(data, at_once=at_once)

    def _check_room(self, size: int) -> None:
        disk = os.statvfs(self._staging.directory)
        left = min(self.budget.limit - self.budget.used, disk.f_bavail * disk.f_frsize)
        if size > left:
            raise OSError(errno.ENOSPC, f"{size} bytes do not fit into {left}")

    def _stage(self, file: File, offset: int, data: bytes) -> None:
        end = offset + len(data)
        new = sum(stop - start for start, stop, mine in file.extents.pieces(offset, end) if not mine)
        self.budget.take(new)
        try:
            descriptor = self._open(file)
            self._look(file, offset, end, partly_in=True)
            if new < len(data):
                self._before_overwriting(file, offset, end)
            try:
                self._pwrite(descriptor, offset, data)
            except BaseException:
                file.data.sums.broke_off(offset, end)
                raise
        except BaseException:
            self.budget.take(-new)
            raise
        file.data.sums.wrote(offset, data, file.extents)
        file.data.wrote(offset, end, file.extents)
        file.extents.add(offset, end)
        self._unsynced.add(file)

    def _before_overwriting(self, file: File, start: int, end: int) -> None:
        """Note that staged bytes are not any more what a row on the disk says of them."""
        written = Extents()
        written.add(start, end)
        sums = file.data.sums
        parts = {block // PART_BLOCKS for block in blocks(start, end)} & sums.guarded
        changes = [rows.mark_open(file, part) for part in parts]
        is_safe = bool(file.extents.common(written).without(file.data.never_synced()))
        marks = is_safe and not file.data.overwritten
        if marks:
            changes.append(rows.mark_overwritten(file))
        if changes:
            self._staging.apply(changes, durable=marks)
            for part in parts:
                sums.reopen(part)
        if is_safe:
            file.data.overwrites += 1
            file.data.overwritten = True

    def _pwrite(self, descriptor: int, offset: int, data: bytes) -> None:
        written = 0
        while written < len(data):
            try:
                written += os.pwrite(descriptor, data[written:] if written else data, offset + written)
            except OSError as error:
                if error.errno != errno.ENOSPC or not self._staging.make_room():
                    raise

    def _flush(self, files: Collection[tuple[File, StagedBytes]]) -> None:
        """Let the disk have what was written; many files at a time cost little more than one."""
        if len(files) > MANY:
            self._staging.sync_everything()
        else:
            for file, data in files:
                with file.lock:
                    if file.data is not data:  # it was emptied or deleted meanwhile
                        continue
                    descriptor = os.dup(file.descriptor) if file.descriptor is not None else self._staging.open(data)
                try:
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)
            if not all(data.is_named for _, data in files):
                self._staging.sync_data_names()
        for _, data in files:
            data.is_named = True

    def _pread_frozen(self, staged: StagedFile, start: int, stop: int) -> bytes:
        file = staged.inode
        if staged.copy is not None:
            data = os.pread(staged.copy, stop - start, start)
            extents = Extents()
            for begin, end in staged.staged:
                extents.add(begin, end)
            if staged.sums is not None:
                compare(file, staged.sums, extents, staged.copy, start, data, always=True)
        else:
            with file.lock:
                if file.version != staged.version:
                    raise BusyError("a file was changed while it was read", "", "try again")
                is_open = file.descriptor is not None
                data = self._pread(file, start, stop, always=True)
                if not is_open and not file.handles:
                    self.release(file)
        return data

    def _look(self, file: File, start: int, end: int, *, partly_in: bool = False) -> None:
        """Compare the unverified blocks in which a range ends, before their checksums are made anew.

        `partly_in`: only if the range does not cover them. Raises OSError EIO for damage.
        """
        for block in {start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES}:
            first, last = block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES
            if not (partly_in and start <= first and last <= end):
                for wanted in file.data.sums.needs_look(first, last, always=False):
                    _require(file, file.data.sums, wanted, checksum(reader(self._open(file)), file.extents, wanted))

    def _pread(self, file: File, start: int, stop: int, *, always: bool = False) -> bytes:
        if file.data.lost and any(mine for _, _, mine in file.data.lost.pieces(start, stop)):
            raise OSError(errno.EIO, f"inode {file.id}: {IN_DOUBT}")
        data = os.pread(self._open(file), stop - start, start)
        if len(data) != stop - start:
            raise OSError(errno.EIO, f"staged bytes of inode {file.id} are missing")
        compare(file, file.data.sums, file.extents, self._open(file), start, data, always=always)
        return data

    def _open(self, file: File) -> int:
        if file.descriptor is None:
            file.descriptor = self._staging.open(file.data)
        return file.descriptor


def compare(file: File, sums: Sums, staged: Extents, descriptor: int, start: int, data: bytes, *, always: bool) -> None:
    """Compare bytes that were read with their checksums. Raises OSError EIO for damage."""
    end = start + len(data)
    for block in sums.needs_look(start, end, always=always):
        first, last = block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES
        if start <= first and last <= end:
            found = int(xxh3_64(memoryview(data)[first - start : last - start]).intdigest())
        else:
            found = checksum(reader(descriptor), staged, block)
        _require(file, sums, block, found)


def _require(file: File, sums: Sums, block: int, found: int) -> None:
    if not sums.is_right(block, found):
        at = block * BLOCK_BYTES
        raise OSError(errno.EIO, f"inode {file.id}, block at byte {at}: {DAMAGED}")


def _of_base(reader: BaseReader, path: bytes, start: int, stop: int) -> Block:
    data = reader.read(path, start, stop - start)
    if len(data) != stop - start:
        raise OSError(errno.EIO, f"the commit has fewer bytes of {path!r} than it says")
    return data


def _changed(file: File) -> None:
    file.mtime = file.ctime = time.time_ns()
    file.version += 1
    file.dirty = True
