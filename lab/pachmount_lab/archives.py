"""Directories of the drive as zip files: packed while they are sent, in little memory, without compression.

An archive that cannot be finished has no end, so that no program takes it for a whole one.
"""

from __future__ import annotations

import stat
import time
import zipfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

from pachmount.errors import BusyError, TooLongError, UsageError
from pachmount_lab.connection import Request
from pachmount_lab.daemon import CLIENT_HEADERS, Daemon, Reply
from pachmount_lab.models import told_name
from pachmount_lab.outputs import Outputs
from pachmount_lab.places import Place, with_page

MAX_ARCHIVES = 4
"""How many are made at once."""
MAX_ENTRIES = 100_000
"""Files and directories of one: a zip file ends with a list of them, which is kept in memory, some 100 MiB."""

_PAGE = 1000
_LARGE_BYTES = 1 << 30
"""Files from here on are packed so that they may be longer than 2 GiB, which old programs do not read."""
_FIRST_YEAR, _LAST_YEAR = 1980, 2107
"""What a zip file can tell."""


@dataclass(frozen=True)
class Entry:
    """A file or directory that is packed, and what the daemon tells of it."""

    place: Place
    told: dict[str, Any]

    @property
    def is_directory(self) -> bool:
        return bool(self.told["type"] == "dir")

    @property
    def size_bytes(self) -> int:
        return int(self.told["size_bytes"])


@dataclass(frozen=True)
class Size:
    """What an archive has to hold."""

    files: int
    size_bytes: int


class Archives:
    """Packs directories. For the loop's thread alone. All of it raises PachmountError."""

    def __init__(self, daemon: Daemon, outputs: Outputs) -> None:
        self._daemon = daemon
        self._outputs = outputs
        self._running = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """To be held while something is packed or sized. Raises BusyError if too many are."""
        if self._running >= MAX_ARCHIVES:
            raise BusyError("too many folders are downloaded at once", f"{MAX_ARCHIVES} are being packed", "try again")
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def size(self, place: Place) -> Size:
        """What there is to pack. Raises TooLongError as `pieces`."""
        files = size_bytes = 0
        async for entry in self._all(place):
            if not entry.is_directory:
                files += 1
                size_bytes += entry.size_bytes
        return Size(files, size_bytes)

    async def pieces(self, place: Place) -> AsyncGenerator[bytes, None]:
        """The bytes of the archive. Links, pipes and the like are left out.

        Raises TooLongError if there is too much to pack, BusyError if the mount or a file was changed meanwhile.
        """
        written = _Written()
        with zipfile.ZipFile(written, "w") as archive:
            async for entry in self._all(place):
                info = _info(entry, place)
                if entry.is_directory:
                    archive.writestr(info, b"")
                else:
                    async with aclosing(self._content(entry)) as content:
                        with archive.open(info, "w", force_zip64=entry.size_bytes >= _LARGE_BYTES) as file:
                            async for piece in content:
                                file.write(piece)
                                yield written.take()
                yield written.take()
            archive.close()
            yield written.take()

    async def _all(self, top: Place) -> AsyncGenerator[Entry, None]:
        """A directory, and all files and directories below it."""
        told = await self._told(top)
        if told["type"] != "dir":
            raise UsageError(f"cannot pack '{top}'", "it is no directory")
        commit, count = told.get("commit", ""), 0
        directories = [Entry(top, told)]
        while directories:
            directory = directories.pop()
            yield directory
            async for entry in self._in(directory.place, commit):
                count += 1
                if count > MAX_ENTRIES:
                    why = f"it has more than {MAX_ENTRIES:,} files and folders"
                    raise TooLongError(f"'{top}' is too large to be packed", why, "pachmount checkout")
                if entry.is_directory:
                    directories.append(entry)
                elif entry.told["type"] == "file":
                    yield entry
        _require_same(top, await self._told(top), commit)

    async def _told(self, place: Place) -> dict[str, Any]:
        spot = await self._outputs.spot(place)
        told: dict[str, Any]
        if spot is not None:
            told = await self._outputs.entry(spot)
        else:
            told = await self._daemon.get(f"/file?{place.query()}")
        return told

    async def _in(self, directory: Place, commit: str) -> AsyncGenerator[Entry, None]:
        """What is in a directory. Raises BusyError if that is of another commit."""
        spot = await self._outputs.spot(directory)
        if spot is not None:
            for told in await self._outputs.entries(spot):
                yield Entry(directory / told_name(told), told)
            return
        page: dict[str, Any] = {"next": ""}
        while True:
            asked = {"number": str(_PAGE), "after": page["next"]}
            page = await self._daemon.get(f"/files?{with_page(directory.query(), asked)}")
            _require_same(directory, page, commit)
            for told in page["files"]:
                yield Entry(directory / told_name(told), told)
            if not page["next"]:
                return

    async def _content(self, entry: Entry) -> AsyncGenerator[bytes, None]:
        """The bytes of a file. Raises BusyError if they are far more than there were."""
        size = 0
        async with aclosing(self._read(entry.place)) as pieces:
            async for piece in pieces:
                size += len(piece)
                if size > zipfile.ZIP64_LIMIT and entry.size_bytes < _LARGE_BYTES:
                    raise BusyError(f"'{entry.place}' was changed while it was packed", "it grows", "try again")
                yield piece

    async def _read(self, place: Place) -> AsyncGenerator[bytes, None]:
        spot = await self._outputs.spot(place)
        if spot is not None:
            async for piece in self._outputs.pieces(spot):
                yield piece
            return
        async with self._daemon.open(Request("GET", f"/content?{place.query()}", CLIENT_HEADERS)) as answer:
            if answer.status != 200:
                raise Reply(answer.status, "", await answer.whole()).error()
            async for piece in answer.pieces():
                yield piece


class _Written:
    """What an archive is written to, and taken from at once. It cannot seek, and `zipfile` writes accordingly."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: bytes) -> int:
        self._bytes += data
        return len(data)

    def flush(self) -> None:
        """There is nothing behind it."""

    def close(self) -> None:
        """There is nothing to give up."""

    def take(self) -> bytes:
        taken, self._bytes = bytes(self._bytes), bytearray()
        return taken


def _info(entry: Entry, top: Place) -> zipfile.ZipInfo:
    """How an entry is called in the archive of `top`, in a directory of its name, and when it was changed."""
    below = b"/".join(entry.place.names[len(top.names) :]).decode(errors="backslashreplace")
    name = f"{top.name}/{below}".rstrip("/")
    date = time.localtime(entry.told["modified"] or 0.0)[:6]
    if not _FIRST_YEAR <= date[0] <= _LAST_YEAR:
        date = (_FIRST_YEAR, 1, 1, 0, 0, 0)
    info = zipfile.ZipInfo(f"{name}/" if entry.is_directory else name, date)
    mode = stat.S_IFDIR | 0o755 if entry.is_directory else stat.S_IFREG | 0o644
    info.external_attr = mode << 16
    return info


def _require_same(place: Place, told: dict[str, Any], commit: str) -> None:
    """Raises BusyError if what is told is of another commit."""
    if told.get("commit", "") != commit:
        raise BusyError(f"'{place}' was changed while it was packed", "its mount shows another commit now", "try again")
