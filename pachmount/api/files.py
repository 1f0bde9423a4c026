"""The routes that browse: pages of directories, single entries, and the bytes of files, without FUSE."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

import tornado.iostream

from pachmount.api import answers, schema
from pachmount.api.handlers import Handler, number_of
from pachmount.errors import BusyError, OutOfRangeError, PachmountError, UsageError
from pachmount.mounts.browsing import Content, Place
from pachmount.vfs.listed import folded
from pachmount.vfs.pages import Asked, Entry

log = logging.getLogger(__name__)
T = TypeVar("T")

DEFAULT_FILES = 1000
PIECE_BYTES = 1 << 20
"""What a download holds in memory at a time: a block of the cache."""
SLOW_CLIENT_SECONDS = 300.0
"""How long a client may take for a piece."""
_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*")
_BYTES = "hex:"
"""How a marker begins that is not UTF-8 (any other begins with a slash)."""


class BrowsingHandler(Handler):
    """The base of the routes that take `mount` and `path`, or `source`."""

    compatible = False

    def place(self) -> Callable[[], AbstractContextManager[Place]]:
        """How to find the place that is asked for; UsageError unless there is exactly one. Finding it is blocking."""
        browser = self.services.browser
        mount, source, path = self.text("mount"), self.text("source"), self.raw("path")
        if bool(mount) == bool(source):
            raise UsageError("either 'mount' or 'source' is needed", "", "docs/rest.md")
        if mount:
            return partial(browser.in_mount, mount, path)
        if path:
            raise UsageError("a source has its path in itself", "", f"source={source}:/PATH")

        def in_source() -> AbstractContextManager[Place]:
            self.require_login()
            return browser.in_source(source)

        return in_source

    def raw(self, name: str) -> bytes:
        """A parameter as it was sent, b"" if it was not. Names of files need not be UTF-8, and may end in a blank."""
        return self.request.query_arguments.get(name, [b""])[-1]

    def text(self, name: str) -> str:
        """A parameter that is UTF-8."""
        return self.raw(name).decode(errors="replace")


class FilesHandler(BrowsingHandler):
    """GET /files?mount=M&path=P or ?source=S, &after=P&number=N&filter=T (ours): a page of a directory, or one file."""

    async def get(self) -> None:
        number = number_of(self.text("number"), DEFAULT_FILES)
        asked = Asked(_key(self.raw("after")), number, folded(self.raw("filter")))
        self.answer(await self.look(partial(self._page, self.place(), asked)))

    def _page(self, find: Callable[[], AbstractContextManager[Place]], asked: Asked) -> schema.FilesAnswer:
        with find() as place:
            page = place.page(asked)
            above = place.directory
        files = [_answer(above, entry) for entry in page.entries]
        return schema.FilesAnswer(
            source=str(place.source),
            commit=place.source.commit,
            files=files,
            next="" if page.is_last else _marker(above + page.entries[-1].key),
            total=page.total,
            writable=place.is_writable,
            note=place.note,
        )


class FileHandler(BrowsingHandler):
    """GET /file?mount=M&path=P or ?source=S (ours): one file or directory."""

    async def get(self) -> None:
        self.answer(await self.look(partial(self._entry, self.place())))

    def _entry(self, find: Callable[[], AbstractContextManager[Place]]) -> schema.EntryAnswer:
        with find() as place:
            told = _answer(place.path[: place.path.rindex(b"/") + 1], place.entry())
        return schema.EntryAnswer(
            **dict(told),
            source=str(place.source),
            commit=place.source.commit,
            writable=place.is_writable,
            note=place.note,
        )


class ContentHandler(BrowsingHandler):
    """GET /content?mount=M&path=P or ?source=S (ours): the bytes of a file, or a range of them."""

    async def get(self) -> None:
        find, downloads = self.place(), self.services.downloads
        if not downloads.enter():
            raise BusyError("too many files are read at once", f"{downloads.limit} are being sent", "try again")
        try:
            content = await self.stream(partial(_opened, find))
            try:
                await self._answer(content)
            finally:
                await self.stream(content.close)
        finally:
            downloads.leave()

    async def _answer(self, content: Content) -> None:
        try:
            start, end, is_part = self._range(content)
        except OutOfRangeError as error:
            self.set_header("Content-Range", f"bytes */{content.size}")
            self.fail(error, error.http_status)
            return
        self.set_header("ETag", content.etag)
        self.set_header("Accept-Ranges", "bytes")
        if self.check_etag_header():
            self.set_status(304)
            return
        piece = await self._read(content, start, end)
        if is_part:
            self.set_status(206)
            self.set_header("Content-Range", f"bytes {start}-{end - 1}/{content.size}")
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Length", str(end - start))
        try:
            await self._send(content, piece, start, end)
        except tornado.iostream.StreamClosedError:
            log.info("%s: the client went away", self.request.uri)
        except (PachmountError, asyncio.TimeoutError) as error:
            log.warning("%s was cut off: %s", self.request.uri, str(error) or "the client takes nothing")
            self._cut_off()

    async def _send(self, content: Content, piece: bytes, start: int, end: int) -> None:
        """All of it, each piece when the one before it was taken."""
        while True:
            self.write(piece)
            await asyncio.wait_for(self.flush(), SLOW_CLIENT_SECONDS)
            start += len(piece)
            if start >= end:
                return
            piece = await self._read(content, start, end)

    async def _read(self, content: Content, start: int, end: int) -> bytes:
        """The next piece, up to the end of a block."""
        size = min(PIECE_BYTES - start % PIECE_BYTES, end - start)
        return await self.stream(lambda: bytes(content.read(start, size)) if size else b"")

    def _range(self, content: Content) -> tuple[int, int, bool]:
        """Begin and end of what is asked for, and whether that is a part; what is no single range is ignored."""
        size, headers = content.size, self.request.headers
        found = _RANGE.fullmatch(headers.get("Range", ""))
        is_current = headers.get("If-Range", content.etag) == content.etag
        if found is None or not any(found.groups()) or not is_current:
            return 0, size, False
        first, last = found.groups()
        if first:
            start, end = int(first), min(int(last) + 1, size) if last else size
            if last and int(last) < start:
                return 0, size, False
        else:
            start, end = max(0, size - int(last)), size
        if start >= size:
            raise OutOfRangeError("the range lies behind the end", f"the file has {size} bytes")
        return start, end, True

    def _cut_off(self) -> None:
        """Let the client notice that it has not got all."""
        self.request.connection.stream.close()  # type: ignore[union-attr]


def _opened(find: Callable[[], AbstractContextManager[Place]]) -> Content:
    with find() as place:
        return place.open()


def _answer(above: bytes, entry: Entry) -> schema.FileAnswer:
    return answers.file(above + entry.name, entry)


def _marker(path: bytes) -> str:
    """The `after` of the page behind an entry."""
    return answers.text(path) if answers.is_text(path) else _BYTES + path.hex()


def _key(path: bytes) -> bytes:
    """What the entry of a marker is sorted by: its name, of a directory with a trailing slash."""
    if path.startswith(_BYTES.encode()):
        try:
            path = bytes.fromhex(path.removeprefix(_BYTES.encode()).decode())
        except ValueError as error:
            raise UsageError(f"invalid 'after' '{answers.text(path)}'", "it is the 'next' of a page") from error
    name = path.rstrip(b"/").rpartition(b"/")[2]
    return name + b"/" if path.endswith(b"/") and name else name
