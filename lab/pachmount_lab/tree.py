"""Reading the drive: models of its directories and files, by way of the daemon's routes."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from urllib.parse import urlencode

from pachmount.client import MOUNT_TIMEOUT
from pachmount.errors import NotFoundError, PachmountError, TooLongError, UsageError
from pachmount_lab import models
from pachmount_lab.connection import Request
from pachmount_lab.daemon import CLIENT_HEADERS, Daemon, Reply, within
from pachmount_lab.disk import Spot
from pachmount_lab.models import MAX_BYTES, Model
from pachmount_lab.outputs import OUT, Outputs
from pachmount_lab.places import Place, with_page

log = logging.getLogger(__name__)

MAX_OPEN = 4
"""How many files are read at once, each of which may be in memory several times."""
TYPES = ("", "directory", "file", "notebook")
FORMATS = ("", "json", "text", "base64")


@dataclass(frozen=True)
class Wanted:
    """What is asked of a path; "" for what is not."""

    content: bool = True
    type: str = ""
    format: str = ""
    after: str = ""
    number: str = ""
    filter: str = ""

    @property
    def page(self) -> dict[str, str]:
        return {"after": self.after, "number": self.number, "filter": self.filter}


class Tree:
    """The drive. For the loop's thread alone. All of it raises PachmountError."""

    def __init__(self, daemon: Daemon, outputs: Outputs) -> None:
        self._daemon = daemon
        self.outputs = outputs
        self._reading = asyncio.Semaphore(MAX_OPEN)

    async def model(self, place: Place, wanted: Wanted) -> Model:
        """What a path names: a directory with a page of its entries, or a file with its content, if wanted."""
        if place.is_virtual:
            return await self._virtual(place, wanted)
        if (spot := await self.outputs.spot(place)) is not None:
            return await self._of_output(spot, place, wanted)
        told = await self._daemon.get(f"/file?{place.query()}")
        model = models.check_type(models.itself(place, told), wanted.type, wanted.format)
        if not wanted.content:
            return model
        if model["type"] == "directory":
            return await self._page(place, model, wanted)
        async with self._reading:
            content = await self.content(place, model)
            return await asyncio.to_thread(models.opened, model, content, wanted.format)

    async def _of_output(self, spot: Spot, place: Place, wanted: Wanted) -> Model:
        told = await self.outputs.entry(spot)
        model = models.check_type(models.itself(place, told), wanted.type, wanted.format)
        if not wanted.content:
            return model
        if model["type"] == "directory":
            found = await self.outputs.entries(spot)
            found = [entry for entry in found if wanted.filter.casefold() in str(entry["path"]).casefold()]
            return models.listed(model, [models.entry(place, told, writable=True) for told in found], total=len(found))
        check_length(model)
        async with self._reading:
            content = await self.outputs.content(spot)
            return await asyncio.to_thread(models.opened, model, content, wanted.format)

    async def _page(self, place: Place, model: Model, wanted: Wanted) -> Model:
        page = await self._daemon.get(f"/files?{with_page(place.query(), wanted.page)}")
        entries = [models.entry(place, told, writable=bool(page["writable"])) for told in page["files"]]
        return models.listed(model, entries, following=page["next"], total=page["total"])

    async def content(self, place: Place, model: Model) -> bytes:
        """The bytes of a file. Raises TooLongError."""
        check_length(model)
        request = Request("GET", f"/content?{place.query()}", CLIENT_HEADERS)
        return await within(MOUNT_TIMEOUT, request, self._read(request))

    async def _read(self, request: Request) -> bytes:
        async with self._daemon.open(request) as answer:
            content = await answer.whole(MAX_BYTES)
        reply = Reply(answer.status, "", content)
        if not reply.is_ok:
            raise reply.error()
        return content

    async def _virtual(self, place: Place, wanted: Wanted) -> Model:
        if wanted.type not in ("", "directory"):
            raise UsageError(f"'{place}' is no {wanted.type}", "it is a directory")
        names = place.names[1:]
        model = models.directory(place)
        if not place.names:
            entries = await self._mounts()
        elif not names:
            projects = await self._daemon.get("/projects")
            entries = _directories(place, [entry["project"]["name"] for entry in projects])
        elif len(names) == 1:
            entries = _directories(place, await self._repos(names[0].decode(errors="replace")))
        else:
            query = urlencode({"repo": b"/".join(names)})
            branches = await self._daemon.get(f"/branches?{query}")
            entries = _directories(place, [entry["branch"] for entry in branches])
        if not wanted.content:
            return model
        entries = [entry for entry in entries if wanted.filter.casefold() in entry["name"].casefold()]
        return models.listed(model, entries, total=len(entries))

    async def _mounts(self) -> list[Model]:
        mounts = (await self._daemon.get("/status"))["mounts"]
        entries = [
            models.directory(Place.of(mount["name"]), mount["mounted_at"], writable=mount["mode"] == "rw")
            for mount in mounts
        ]
        if (out := await self.outputs.spot(OUT)) is not None:
            entries.append(models.directory(OUT, await self._modified(out), writable=True))
        return sorted(entries, key=lambda entry: str(entry["name"]))

    async def _modified(self, spot: Spot) -> float | None:
        """When something in `out` was changed; None where Jupyter's server does not see it."""
        try:
            return float((await self.outputs.entry(spot))["modified"])
        except PachmountError as error:
            log.info("%s", error)
            return None

    async def _repos(self, project: str) -> list[str]:
        repos = [entry["repo"] for entry in await self._daemon.get("/repos") if entry["project"] == project]
        if not repos:
            projects = await self._daemon.get("/projects")
            if project not in [entry["project"]["name"] for entry in projects]:
                raise NotFoundError(f"project {project} not found")
        return repos


def check_length(model: Model) -> None:
    """Raises TooLongError for a file that is not opened."""
    if (model["size"] or 0) > MAX_BYTES:
        why = f"it has {model['size']:,} bytes, and at most {MAX_BYTES >> 20} MiB can be opened"
        raise TooLongError(f"'{model['path']}' is too long to be opened", why, "download it, or read it at the mount")


def _directories(above: Place, names: list[str]) -> list[Model]:
    return [models.directory(above / name.encode()) for name in sorted(names)]
