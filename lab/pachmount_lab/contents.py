"""`/contents`, `/download` and `/pfs`: the drive for Jupyter's front end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from itertools import count
from typing import Any
from urllib.parse import quote

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from pachmount.errors import InvalidPathError, UsageError
from pachmount_lab import disk, models
from pachmount_lab.archives import Archives, Size
from pachmount_lab.disk import MAX_UNTITLED, Spot
from pachmount_lab.forwarding import StreamHandler
from pachmount_lab.handlers import Handler, Services
from pachmount_lab.places import Place, writable_spot
from pachmount_lab.tree import FORMATS, TYPES, Tree, Wanted

MAX_EXTENSION = 32


class DriveHandler(Handler):
    """The base of those that name something in the drive by the path behind their route."""

    route = ""

    def initialize(self, services: Services, tree: Tree) -> None:  # type: ignore[override]  # tornado's are by name
        super().initialize(services)
        self.tree = tree

    @property
    def place(self) -> Place:
        return Place.of(self.path_below(self.route))

    def wanted(self) -> Wanted:
        """What the query asks for. Raises UsageError."""
        content = self.get_query_argument("content", "1")
        if content not in ("0", "1"):
            raise UsageError(f"content '{content}' is invalid", "it is 0 or 1")
        wanted = Wanted(
            content == "1",
            self.get_query_argument("type", ""),
            self.get_query_argument("format", ""),
            self.get_query_argument("after", "", strip=False),
            self.get_query_argument("number", ""),
            self.get_query_argument("filter", "", strip=False),
        )
        for name, value, known in (("type", wanted.type, TYPES), ("format", wanted.format, FORMATS)):
            if value not in known:
                raise UsageError(f"{name} '{value}' is invalid", f"it is one of {', '.join(known[1:])}")
        return wanted

    async def look(self) -> None:
        """Answer with the model."""
        place, wanted = self.place, self.wanted()
        self.answer(await self.while_wanted(self.tree.model(place, wanted)))


class PfsHandler(DriveHandler):
    """GET /pfs/PATH: the same for clients of the original."""

    route = "/pfs"

    @authenticated
    @authorized
    async def get(self, _path: str = "") -> None:
        await self.look()


class ContentsHandler(DriveHandler):
    """/contents/PATH: reading by way of the daemon, changes at the mount's real path."""

    route = "/contents"

    @authenticated
    @authorized
    async def get(self, _path: str = "") -> None:
        await self.look()

    @authenticated
    @authorized
    async def put(self, _path: str = "") -> None:
        """Save a file, or a piece of one; make a directory."""
        place, body = self.place, self.json_object()
        spot = await self._spot(place)
        chunk = body.get("chunk")
        if body.get("type") == "directory":
            await self.services.workers.run(lambda: disk.make_directory(spot))
            await self._tell(place, 201)
            return
        if chunk is not None and (not isinstance(chunk, int) or isinstance(chunk, bool)):
            raise UsageError(f"chunk '{chunk}' is invalid", "it is a number")
        content = await asyncio.to_thread(models.saved, body)
        if chunk is not None:
            await self.services.uploads.add(spot, chunk, content)
            if chunk != -1:
                self.answer({**models.directory(place), "type": "file", "writable": True})
                return
        else:
            await self.services.workers.run(lambda: disk.save(spot, content))
        await self._tell(place)

    @authenticated
    @authorized
    async def post(self, _path: str = "") -> None:
        """Make something new in a directory, with a name of our choice."""
        place, body = self.place, self.json_object()
        if body.get("copy_from"):
            raise UsageError("cannot copy", "copies are made at the mount's path")
        kind, extension = body.get("type", "file"), str(body.get("ext") or "")
        if len(extension) > MAX_EXTENSION or "/" in extension or "\0" in extension:
            raise InvalidPathError(f"invalid extension '{extension:.80}'", "it is such as .txt")
        probe = await self._spot(place / b"any")
        directory = Spot(probe.mountpoint, probe.names[:-1])
        if kind == "directory":
            names, content = _untitled("Untitled Folder", " ", ""), None
        elif kind == "notebook" or extension == ".ipynb":
            names, content = _untitled("Untitled", "", ".ipynb"), models.empty_notebook()
        elif kind == "file":
            names, content = _untitled("untitled", "", extension), b""
        else:
            raise UsageError(f"cannot make a '{kind}'", "type is 'directory', 'file' or 'notebook'")
        made = await self.services.workers.run(lambda: disk.make_untitled(directory, names, content))
        await self._tell(place / made.name, 201)

    @authenticated
    @authorized
    async def patch(self, _path: str = "") -> None:
        """Give something another path in the same mount."""
        old, path = self.place, self.json_object().get("path")
        if not isinstance(path, str) or not path.strip("/"):
            raise UsageError("there is no new path", "'path' is where it shall be")
        new = Place.of(path.removeprefix("/"))
        source = await self._spot(old)
        if new != old:
            target = await self._spot(new)
            if source.mountpoint != target.mountpoint:
                raise UsageError(f"cannot move '{old}' to '{new}'", "that is in another mount", "copy and delete it")
            await self.services.workers.run(lambda: disk.rename(source, target))
        await self._tell(new)

    @authenticated
    @authorized
    async def delete(self, _path: str = "") -> None:
        """Delete it, a directory with all that is in it."""
        spot = await self._spot(self.place)
        await self.services.workers.run(lambda: disk.delete(spot))
        self.set_status(204)
        self.finish()

    async def _spot(self, place: Place) -> Spot:
        return await writable_spot(self.services.daemon, place)

    async def _tell(self, place: Place, status: int = 200) -> None:
        """Answer with what is there now."""
        self.answer(await self.tree.model(place, Wanted(content=False)), status)


class DownloadHandler(DriveHandler, StreamHandler):
    """GET /download/PATH: the bytes of a file, or a directory as a zip file, to be saved by the browser.

    With `content=0` it tells how much that is, or why it cannot be had: what a browser saves has no place for that.
    """

    route = "/download"

    def initialize(self, services: Services, tree: Tree, archives: Archives) -> None:  # type: ignore[override]
        super().initialize(services, tree)
        self.archives = archives

    @authenticated
    @authorized
    async def get(self, _path: str = "") -> None:
        place, wanted = self.place, self.wanted()
        if place.is_virtual:
            raise UsageError(f"cannot download '{place}'", "it is a list of mounts, projects, repos or branches")
        model = await self.while_wanted(self.tree.model(place, Wanted(content=False)))
        is_directory = model["type"] == "directory"
        if not wanted.content:
            size = Size(1, model["size"])
            if is_directory:
                with self.archives.slot():
                    size = await self.while_wanted(self.archives.size(place))
            self.answer(asdict(size))
            return
        name = f"{place.name}.zip" if is_directory else place.name
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}")
        spot = await self.tree.outputs.spot(place)
        if is_directory:
            with self.archives.slot():
                await self.while_wanted(self._pieces(self.archives.pieces(place), "application/zip"))
        elif spot is not None:
            await self.while_wanted(self._stream_output(spot))
        else:
            await self.stream(f"/content?{place.query()}")

    async def _stream_output(self, spot: Spot) -> None:
        if (await self.tree.outputs.entry(spot))["type"] != "file":
            raise UsageError(f"cannot download '{self.place}'", "it is no file")
        await self._pieces(self.tree.outputs.pieces(spot), "application/octet-stream")

    async def _pieces(self, pieces: AsyncGenerator[bytes, None], content_type: str) -> None:
        self.set_header("Content-Type", content_type)
        async with aclosing(pieces):
            await self.send(pieces)
        self.finish(set_content_type=content_type)


def _untitled(stem: str, between: str, extension: str) -> Any:
    """`stem`, then `stem1`, `stem2` …, as Jupyter counts."""
    yield stem + extension
    for number in count(1):
        if number > MAX_UNTITLED:
            return
        yield f"{stem}{between}{number}{extension}"
