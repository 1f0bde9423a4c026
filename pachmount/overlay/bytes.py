"""Reading and writing the bytes of staged files: staged ranges from the local disk, the rest from the commit."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator

from pachmount.cache.pages import Block
from pachmount.errors import BusyError
from pachmount.overlay.extents import Extents
from pachmount.overlay.inodes import BaseReader, File
from pachmount.overlay.snapshot import StagedFile
from pachmount.overlay.staging import Staging

COPY_BYTES = 1 << 20


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

    def resize(self, file: File, size: int) -> None:
        """Cut the file, or let it grow by a hole. The caller keeps the inode."""
        with file.lock:
            before = file.extents.size
            file.extents.cut(size)
            file.base_size = min(file.base_size, size)
            self.budget.take(file.extents.size - before)
            if file.descriptor is not None or before:
                os.ftruncate(self._open(file), size)
            file.size = size
            _changed(file)

    def sync(self, file: File) -> None:
        """See to it that the staged bytes survive a power loss."""
        with file.lock:
            descriptor = file.descriptor
        if descriptor is not None:
            os.fdatasync(descriptor)
            self._staging.sync_names()

    def release(self, file: File) -> None:
        """Nobody has the file open any more."""
        with file.lock:
            descriptor, file.descriptor = file.descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def forget(self, file: File) -> None:
        """The file is gone: its staged bytes are not needed any more."""
        with file.lock:
            size, file.extents = file.extents.size, Extents()
            self.drop(file, size)

    def drop(self, file: File, size: int) -> None:
        """Remove staged bytes, `size` of them, which are not among the file's any more."""
        with file.lock:
            self.release(file)
            self.budget.take(-size)
            self._staging.discard(file)

    def _stage(self, file: File, offset: int, data: bytes) -> None:
        end = offset + len(data)
        new = sum(stop - start for start, stop, mine in file.extents.pieces(offset, end) if not mine)
        self.budget.take(new)
        try:
            descriptor = self._open(file)
            written = 0
            while written < len(data):
                written += os.pwrite(descriptor, data[written:] if written else data, offset + written)
        except BaseException:
            self.budget.take(-new)
            raise
        file.extents.add(offset, end)

    def _pread_frozen(self, staged: StagedFile, start: int, stop: int) -> bytes:
        file = staged.inode
        if staged.copy is not None:
            data = os.pread(staged.copy, stop - start, start)
        else:
            with file.lock:
                if file.version != staged.version:
                    raise BusyError("a file was changed while it was read", "", "try again")
                is_open = file.descriptor is not None
                data = self._pread(file, start, stop)
                if not is_open and not file.handles:
                    self.release(file)
        return data

    def _pread(self, file: File, start: int, stop: int) -> bytes:
        data = os.pread(self._open(file), stop - start, start)
        if len(data) != stop - start:
            raise OSError(errno.EIO, f"staged bytes of inode {file.id} are missing")
        return data

    def _open(self, file: File) -> int:
        if file.descriptor is None:
            file.descriptor = self._staging.open(file)
        return file.descriptor


def _of_base(reader: BaseReader, path: bytes, start: int, stop: int) -> Block:
    data = reader.read(path, start, stop - start)
    if len(data) != stop - start:
        raise OSError(errno.EIO, f"the commit has fewer bytes of {path!r} than it says")
    return data


def _changed(file: File) -> None:
    file.mtime = file.ctime = time.time_ns()
    file.version += 1
    file.dirty = True
