"""Reading and writing the bytes of staged files: staged ranges from the local disk, the rest from the commit."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import Protocol

from pachmount.cache.pages import Block
from pachmount.overlay.extents import Extents
from pachmount.overlay.inodes import File
from pachmount.overlay.staging import Staging

COPY_BYTES = 1 << 20


class BaseReader(Protocol):
    """The bytes of the commit that a mount stands on."""

    def read(self, path: bytes, offset: int, size: int) -> Block:
        """The bytes [offset, offset + size) of a file, fewer only at its end."""


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

    def __init__(self, staging: Staging, base: BaseReader, limit: int) -> None:
        """At most `limit` bytes are staged at a time."""
        self.base = base
        self.budget = Budget(limit)
        self._staging = staging

    def read(self, file: File, offset: int, size: int) -> Block:
        """The bytes [offset, offset + size), fewer only at the end of the file."""
        with file.lock:
            end = min(offset + size, file.size)
            pieces = list(file.extents.pieces(offset, end)) if offset < end else []
            base, base_size = file.base, file.base_size
            staged = {start: self._pread(file, start, stop) for start, stop, mine in pieces if mine}
        found: list[Block] = []
        for start, stop, mine in pieces:
            if mine:
                found.append(staged[start])
                continue
            middle = min(max(start, base_size), stop)
            if base is not None and start < middle:
                found.append(self._of_base(base, start, middle))
            found.append(bytes(stop - middle))
        found = [piece for piece in found if len(piece)]
        return found[0] if len(found) == 1 else b"".join(found)

    def write(self, file: File, offset: int, data: bytes) -> int:
        """Stage bytes; how many, which is all. After an error, a part of them may have replaced staged ones."""
        end = offset + len(data)
        with file.lock:
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
            file.size = max(file.size, end)
            file.mtime = file.ctime = time.time_ns()
            file.dirty = True
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
            file.mtime = file.ctime = time.time_ns()
            file.dirty = True

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
        """The file is gone, or is committed: its staged bytes are not needed any more."""
        with file.lock:
            self.release(file)
            self.budget.take(-file.extents.size)
            file.extents = Extents()
            self._staging.discard(file)

    def _pread(self, file: File, start: int, stop: int) -> bytes:
        data = os.pread(self._open(file), stop - start, start)
        if len(data) != stop - start:
            raise OSError(errno.EIO, f"staged bytes of inode {file.id} are missing")
        return data

    def _of_base(self, path: bytes, start: int, stop: int) -> Block:
        data = self.base.read(path, start, stop - start)
        if len(data) != stop - start:
            raise OSError(errno.EIO, f"the commit has fewer bytes of {path!r} than it says")
        return data

    def _open(self, file: File) -> int:
        if file.descriptor is None:
            file.descriptor = self._staging.open(file)
        return file.descriptor
