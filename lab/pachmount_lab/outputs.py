"""`out`, where what runs on a datum puts its output while datums are shown: a directory here, which no mount has."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from pachmount.errors import TooLongError, UsageError
from pachmount_lab import disk
from pachmount_lab.daemon import Daemon
from pachmount_lab.disk import Spot
from pachmount_lab.models import MAX_BYTES
from pachmount_lab.places import OUT_NAME, Place
from pachmount_lab.workers import Workers

OUT = Place((OUT_NAME,))
PIECE_BYTES = 1 << 20

_TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}


class Outputs:
    """Looks into it, in the words of the daemon's `/file` and `/files`. Raises PachmountError."""

    def __init__(self, daemon: Daemon, workers: Workers) -> None:
        self._daemon = daemon
        self._workers = workers

    async def spot(self, place: Place) -> Spot | None:
        """Where something in it is; None for what is not in it, or while no datums are shown."""
        if place.names[:1] != (OUT_NAME,):
            return None
        datum = (await self._daemon.get("/status"))["datum"]
        return Spot(str(datum["out"]), place.names[1:]) if datum is not None else None

    async def entry(self, spot: Spot) -> dict[str, Any]:
        """What a file or directory is."""
        return await self._workers.run(lambda: self._entry(spot))

    async def entries(self, spot: Spot) -> list[dict[str, Any]]:
        """All that is in a directory, by name."""
        return await self._workers.run(lambda: self._entries(spot))

    async def content(self, spot: Spot) -> bytes:
        """The bytes of a file. Raises TooLongError."""
        return await self._workers.run(lambda: self._content(spot))

    async def pieces(self, spot: Spot) -> AsyncGenerator[bytes, None]:
        """The bytes of a file, however many."""
        offset = 0
        while piece := await self._workers.run(partial(self._piece, spot, offset)):
            offset += len(piece)
            yield piece

    def _entry(self, spot: Spot) -> dict[str, Any]:
        with disk.looking_at(spot) as descriptor:
            return _told(str(spot), os.fstat(descriptor))

    def _entries(self, spot: Spot) -> list[dict[str, Any]]:
        with disk.looking_at(spot, os.O_RDONLY | os.O_DIRECTORY) as descriptor, os.scandir(descriptor) as found:
            told = [_told(entry.name, entry.stat(follow_symlinks=False)) for entry in found]
        return sorted(told, key=lambda entry: str(entry["path"]))

    def _content(self, spot: Spot) -> bytes:
        with _reading(spot) as descriptor, open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise TooLongError(f"'{spot}' is too long to be opened", "it grows")
        return content

    def _piece(self, spot: Spot, offset: int) -> bytes:
        with _reading(spot) as descriptor:
            return os.pread(descriptor, PIECE_BYTES, offset)


@contextmanager
def _reading(spot: Spot) -> Iterator[int]:
    with disk.looking_at(spot, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError(f"cannot read '{spot}'", "it is no file")
        yield descriptor


def _told(path: str, found: os.stat_result) -> dict[str, Any]:
    name = os.fsencode(path)
    return {
        "path": name.decode(errors="backslashreplace"),
        "path_hex": name.hex(),
        "type": _TYPES.get(stat.S_IFMT(found.st_mode), "other"),
        "size_bytes": found.st_size,
        "modified": found.st_mtime,
        "writable": True,
    }
