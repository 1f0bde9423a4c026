"""Pack files: where chunks of content lie on disk, appended one after the other."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path

PACK_BYTES = 512 * 1024 * 1024
_OPEN_FILES = 64


class Packs:
    """Append-only files `<number>.pack` in one directory; thread-safe.

    Written bytes can be read at once. They survive a crash of the machine after `sync`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, exist_ok=True)
        self._lock = threading.Lock()
        self._readers: OrderedDict[int, _Reader] = OrderedDict()
        self._number = 0
        self._writer = -1
        self._end = 0
        self._dirty = False

    def start(self, used: dict[int, int], *, fresh: bool = False) -> None:
        """Cut off and remove what no finished call refers to. `used` = committed length in bytes of each pack.

        `fresh`: append to a new pack, not to the last one.
        """
        for path in self._directory.glob("*.pack"):
            length = used.get(int(path.stem), 0)
            if length == 0:
                path.unlink()
            elif path.stat().st_size > length:
                os.truncate(path, length)
        self._number = max(used, default=0)
        if fresh or used.get(self._number, PACK_BYTES) >= PACK_BYTES:
            self._number += 1
        self._open()

    def append(self, data: bytes) -> tuple[int, int]:
        """Store `data`; the number of the pack and the offset in it."""
        with self._lock:
            if self._end >= PACK_BYTES:
                os.fsync(self._writer)
                os.close(self._writer)
                self._number += 1
                self._open()
            offset = self._end
            written = 0
            view = memoryview(data)
            while written < len(data):  # at an explicit place, so that a write that fails half-way leaves no trace
                written += os.pwrite(self._writer, view[written:], offset + written)
            self._end += written
            self._dirty = True
            return self._number, offset

    def read(self, pack: int, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises OSError if the pack does not have them."""
        with self._lock:
            reader = self._readers.get(pack)
            if reader is None:
                reader = self._readers[pack] = _Reader(self._path(pack))
                if len(self._readers) > _OPEN_FILES:
                    self._readers.popitem(last=False)
            else:
                self._readers.move_to_end(pack)
        return reader.read(offset, length)

    def sync(self) -> None:
        """Make everything that was appended so far durable."""
        with self._lock:
            if self._dirty:
                os.fdatasync(self._writer)
                self._dirty = False

    def remove(self, pack: int) -> None:
        """Remove a pack that nothing refers to any more; not the one that is being appended to."""
        with self._lock:
            self._readers.pop(pack, None)
        self._path(pack).unlink()

    def close(self) -> None:
        with self._lock:
            self._readers.clear()
            if self._writer >= 0:
                os.close(self._writer)
                self._writer = -1

    def _path(self, number: int) -> Path:
        return self._directory / f"{number}.pack"

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        self._writer = os.open(self._path(self._number), flags, 0o600)
        self._end = os.fstat(self._writer).st_size
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class _Reader:
    """An open pack; closed when the last thread that reads from it lets go."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._path = path

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._file, length, offset)
        while len(data) < length:
            more = os.pread(self._file, length - len(data), offset + len(data))
            if not more:
                raise OSError(f"{self._path}: {length} bytes wanted at {offset}, the file is too short")
            data += more
        return data

    def __del__(self) -> None:
        os.close(self._file)
