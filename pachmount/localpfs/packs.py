"""Pack files: where chunks of content lie on disk, appended one after the other."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from pachmount.errors import DataError
from pachmount.files import sync_directory, write_all

PACK_BYTES = 512 * 1024 * 1024
_EARLY_BYTES = 128 * 1024 * 1024
_OPEN_FILES = 64
_LARGE = 8 * 1024 * 1024
_VECTOR = 512  # pieces in one call of the system


class Packs:
    """Append-only files `<number>.pack` in one directory; thread-safe.

    Written bytes can be read at once. They survive a crash of the machine after `sync`. Reading waits for no writing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()  # of everything about the pack that is appended to
        self._readers_lock = threading.Lock()
        self._readers: OrderedDict[int, _Reader] = OrderedDict()
        self._number = 0
        self._writer = -1
        self._end = 0
        self._dirty = False
        self._lost = 0
        self._found: dict[int, int] = {}  # what packs that were appended to had before

    def start(self, used: dict[int, int], *, fresh: bool = False) -> None:
        """Append behind all that there is, be it referred to or not. `used` = committed length in bytes of each pack.

        `fresh`: append to a new pack, not to the last one.
        """
        sizes = self.sizes()
        number = max((*used, *sizes), default=0)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        if fresh or max(used.get(number, 0), sizes.get(number, 0)) >= PACK_BYTES or number == 0:
            number += 1
        self._open(number)

    def sizes(self) -> dict[int, int]:
        """The length of each pack, of whatever origin."""
        found = (path for path in self._directory.glob("*.pack") if path.stem.isdecimal())
        return {int(path.stem): path.stat().st_size for path in found}

    def missing(self, used: dict[int, int]) -> str:
        """Which packs are missing or too short, for people; "" if all are there."""
        sizes = self.sizes()
        names = [f"{number}.pack" for number, length in sorted(used.items()) if sizes.get(number, 0) < length]
        if not names:
            return ""
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        return f"{shown} {'is' if len(names) == 1 else 'are'} missing or too short"

    def append(self, *pieces: bytes | memoryview) -> tuple[int, int, int]:
        """Store the pieces one after the other; the number of the pack, the offset in it, the length of all."""
        with self._lock:
            if self._end >= PACK_BYTES:
                self._sync()
                self._open(self._number + 1)
            offset = end = self._end
            for start in range(0, len(pieces), _VECTOR):  # at explicit places: a write that fails leaves no trace
                end = write_all(self._writer, pieces[start : start + _VECTOR], end)
            self._end = end
            self._dirty = True
            place = self._number, offset, end - offset
            early = os.dup(self._writer) if end // _EARLY_BYTES > offset // _EARLY_BYTES else -1
        if early >= 0:
            self._sync_early(early, place[0])
        return place

    def read(self, pack: int, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises DataError if the pack does not have them."""
        with self._readers_lock:
            reader = self._readers.get(pack)
            if reader is None:
                reader = self._readers[pack] = _Reader(self._path(pack))
                if len(self._readers) > _OPEN_FILES:
                    self._readers.popitem(last=False)
            else:
                self._readers.move_to_end(pack)
        return reader.read(offset, length)

    def read_from(self, path: Path, offset: int, length: int) -> bytes:
        """The same from any file."""
        return _Reader(path).read(offset, length)

    @property
    def lost(self) -> int:
        """Grows when bytes that were appended before may not have reached the disk, and never will."""
        with self._lock:
            return self._lost

    def sync(self) -> None:
        """Make everything that was appended so far durable."""
        with self._lock:
            self._sync()

    def retract(self, places: Iterable[tuple[int, int, int]]) -> None:
        """Undo appends (pack, start, length) that nobody needs, as far as nothing was appended behind them."""
        with self._lock:
            for number, start, length in sorted(places, reverse=True):
                if (number, start + length) != (self._number, self._end):
                    break
                self._end = start
            os.ftruncate(self._writer, self._end)  # also what a write that failed half-way has left

    def give_back(self, used: dict[int, int]) -> None:
        """While nobody writes: free the disk space of writes that failed, as far as this process made them."""
        with self._lock:
            for number, found in list(self._found.items()):
                self._shorten(number, max(used.get(number, 0), found))

    def trim(self, used: dict[int, int], before: float) -> None:
        """While nobody writes: cut off and remove what lies behind `used` in packs that were last written `before`."""
        with self._lock:
            for number, size in self.sizes().items():
                if size > used.get(number, 0) and self._path(number).stat().st_mtime <= before:
                    self._shorten(number, used.get(number, 0))

    def remove(self, pack: int) -> None:
        """Remove a pack that nothing refers to any more; not the one that is being appended to."""
        with self._readers_lock:
            self._readers.pop(pack, None)
        self._path(pack).unlink(missing_ok=True)

    def close(self) -> None:
        with self._readers_lock:
            self._readers.clear()
        with self._lock:
            if self._writer >= 0:
                os.close(self._writer)
                self._writer = -1

    def _path(self, number: int) -> Path:
        return self._directory / f"{number}.pack"

    def _shorten(self, number: int, length: int) -> None:
        if number == self._number:
            os.ftruncate(self._writer, length)
            self._end = length
        elif length:
            os.truncate(self._path(number), length)
        else:
            self._found.pop(number, None)
            self.remove(number)

    def _sync_early(self, descriptor: int, number: int) -> None:
        """Begin with the work of `sync` while more is coming; nobody waits for this but the one who appended."""
        try:
            os.fdatasync(descriptor)
        except OSError:
            with self._lock:
                self._lost += 1
                if number == self._number:
                    self._open(number + 1)
            raise
        finally:
            os.close(descriptor)

    def _sync(self) -> None:
        if not self._dirty:
            return
        try:
            os.fdatasync(self._writer)
        except OSError:
            # The system forgets what it could not write, and would say that all is well when asked again.
            self._lost += 1
            self._dirty = False
            self._open(self._number + 1)
            raise
        self._dirty = False

    def _open(self, number: int) -> None:
        """Append to this pack from now on. When that fails, everything stays as it was."""
        writer = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            sync_directory(self._directory)
            end = os.fstat(writer).st_size
        except BaseException:
            os.close(writer)
            raise
        if self._writer >= 0:
            os.close(self._writer)
        self._writer, self._number, self._end = writer, number, end
        self._found.setdefault(number, end)


class _Reader:
    """An open pack; closed when the last thread that reads from it lets go."""

    def __init__(self, path: Path) -> None:
        self._file = -1
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise DataError(f"the store is damaged: {path} is missing") from error
        self._path = path

    def read(self, offset: int, length: int) -> bytes:
        if length > _LARGE and offset + length > os.fstat(self._file).st_size:  # before that much memory is taken
            raise DataError(f"the store is damaged: {self._path} ends before byte {offset + length}")
        data = os.pread(self._file, length, offset)
        while len(data) < length:
            more = os.pread(self._file, length - len(data), offset + len(data))
            if not more:
                raise DataError(f"the store is damaged: {self._path} ends before byte {offset + length}")
            data += more
        return data

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)
