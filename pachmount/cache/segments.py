"""Segment files: where blocks lie on disk, appended one after the other by the process that holds the file's lock."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import time
from collections.abc import Sequence
from pathlib import Path

from pachmount.cache.pages import Block, is_on_pages, rounded
from pachmount.files import write_all

SUFFIX = ".segment"
OPEN_READERS = 256
_VECTOR = 64
"""Pieces in one call of the system."""
_BUFFER_BYTES = 4 << 20
SLOW_RATE = 400e6
"""Bytes a second; a slower disk is written through the page cache, which takes what comes faster for a while."""
SLOW_SECONDS = 10.0
_RATE_BYTES, _RATE_SECONDS = 64 << 20, 0.5
"""The rate is that of so many bytes, or what was written in so long a time."""


class Segments:
    """The segment files of one directory, `<id>.segment`. Thread-safe; raises OSError only where it says so."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._readers: dict[int, _Descriptor] = {}
        self._buffer: mmap.mmap | None = None
        self._buffered_until = 0.0
        self._direct_bytes = 0
        self._direct_seconds = 0.0

    def create(self, segment: int) -> Writer:
        """A new, empty file, locked. Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        writer = Writer(segment, os.open(self.path(segment), flags, 0o600), 0)
        if not writer.lock():
            raise BlockingIOError(f"segment {segment} is somebody else's")
        return writer

    def adopt(self, segment: int, filled: int) -> Writer | None:
        """Go on with a file of which `filled` bytes are good; None if it is gone or another process has it."""
        try:
            writer = Writer(segment, os.open(self.path(segment), os.O_RDWR | os.O_CLOEXEC), filled)
            if writer.lock() and writer.cut():
                return writer
        except OSError:
            return None
        return None

    def write_pages(self, writer: Writer, at: int, pieces: Sequence[Block]) -> None:
        """Write each piece at a page of its own, by one thread at a time. Raises OSError.

        Past the page cache where that works: the reader has these bytes already, and the kernel keeps them for the
        mount; a second copy of them costs more time than all else.
        """
        buffer = self._buffer = self._buffer or mmap.mmap(-1, _BUFFER_BYTES)
        views: list[memoryview] = []
        filled = 0
        for piece in pieces:
            size = rounded(len(piece))
            if isinstance(piece, memoryview) and is_on_pages(piece):
                views.append(piece)
                continue
            if filled + size > len(buffer):
                at = self._flush(writer, at, views)
                views, filled = [], 0
            if size > len(buffer):
                writer.write(at, [piece, bytes(size - len(piece))])
                at += size
                continue
            buffer[filled : filled + len(piece)] = piece
            buffer[filled + len(piece) : filled + size] = bytes(size - len(piece))
            views.append(memoryview(buffer)[filled : filled + size])
            filled += size
        self._flush(writer, at, views)

    def _flush(self, writer: Writer, at: int, pages: list[memoryview]) -> int:
        """Write whole pages; where they end."""
        started = time.monotonic()
        size = sum(map(len, pages))
        if not pages:
            return at
        if started < self._buffered_until:
            writer.write(at, pages)
            return at + size
        done = writer.write_direct(at, pages, size)
        if not done:
            writer.write(at, pages)
        now = time.monotonic()
        self._direct_bytes += size
        self._direct_seconds += now - started
        measured = self._direct_bytes >= _RATE_BYTES or self._direct_seconds >= _RATE_SECONDS
        if not done or (measured and self._direct_bytes < SLOW_RATE * self._direct_seconds):
            self._buffered_until = now + SLOW_SECONDS
        if measured:
            self._direct_bytes, self._direct_seconds = 0, 0.0
        return at + size

    def read(self, segment: int, offset: int, size: int) -> bytes | None:
        """`size` bytes, fewer if the file ends before; None if it cannot be read."""
        reader = self._readers.get(segment)
        try:
            if reader is None:
                reader = _Descriptor(os.open(self.path(segment), os.O_RDONLY | os.O_CLOEXEC))
                self._readers[segment] = reader
                while len(self._readers) > OPEN_READERS:
                    self._readers.pop(next(iter(self._readers)), None)
            return os.pread(reader.number, size, offset)
        except (OSError, RuntimeError, StopIteration):  # the latter two: the table changed under the loop
            return None

    def remove(self, segment: int) -> int:
        """Free a segment's disk space, also where another process has the file open; the bytes freed."""
        self._readers.pop(segment, None)
        try:
            descriptor = os.open(self.path(segment), os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            freed = os.fstat(descriptor).st_blocks * 512
            self.path(segment).unlink(missing_ok=True)
            os.ftruncate(descriptor, 0)
            return freed
        except OSError:
            return 0
        finally:
            os.close(descriptor)

    def on_disk(self) -> set[int]:
        """The segments that have a file."""
        with contextlib.suppress(OSError):
            names = [path.stem for path in self._directory.iterdir() if path.suffix == SUFFIX]
            return {int(name) for name in names if name.isdecimal()}
        return set()

    def forget(self, known: set[int] | frozenset[int] = frozenset()) -> None:
        """Close the files of all segments but those `known`."""
        for segment in set(self._readers) - known:
            self._readers.pop(segment, None)

    def path(self, segment: int) -> Path:
        return self._directory / f"{segment}{SUFFIX}"


class _Descriptor:
    """An open file; closed when the last thread that uses it lets go."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


class Writer(_Descriptor):
    """The end of a segment that this process appends to; `filled` bytes of it are known to the index."""

    def __init__(self, segment: int, number: int, filled: int) -> None:
        super().__init__(number)
        self.segment = segment
        self.filled = filled
        self.reserved = filled
        self._direct: _Descriptor | None = None

    def lock(self) -> bool:
        """Whether the file is ours now."""
        try:
            fcntl.flock(self.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def cut(self) -> bool:
        """Free what lies behind the filled part; False if that is not all there."""
        if os.fstat(self.number).st_size < self.filled:
            return False
        os.ftruncate(self.number, self.filled)
        return True

    def write(self, at: int, pieces: Sequence[Block]) -> None:
        """Write behind the filled part; a write that fails leaves nothing that counts. Raises OSError."""
        for start in range(0, len(pieces), _VECTOR):
            at = write_all(self.number, pieces[start : start + _VECTOR], at)

    def write_direct(self, at: int, pages: Sequence[memoryview], size: int) -> bool:
        """The same past the page cache, of whole pages, `size` bytes together; False where that does not work."""
        try:
            if self._direct is None:
                flags = os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC
                self._direct = _Descriptor(os.open(f"/proc/self/fd/{self.number}", flags))
            return os.pwritev(self._direct.number, pages, at) == size
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP):
                return False
            raise
