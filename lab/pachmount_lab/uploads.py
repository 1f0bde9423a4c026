"""Uploads that come in pieces, as JupyterLab sends files: they lie beside the file until all of it is there."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from pachmount.errors import BusyError, UsageError
from pachmount_lab import disk
from pachmount_lab.disk import Spot
from pachmount_lab.workers import Workers

MAX_UPLOADS = 32
IDLE_SECONDS = 3600.0
"""An upload of which nothing came for so long is given up when room is needed, or another one of that file begins."""
LAST_CHUNK = -1


@dataclass
class _Upload:
    temporary: bytes = field(default_factory=disk.temporary_name)
    received: int = 0
    """Chunks."""
    touched: float = field(default_factory=time.monotonic)


class Uploads:
    """Those that are under way, by where they go. For the loop's thread alone."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._uploads: dict[Spot, _Upload] = {}

    async def add(self, spot: Spot, chunk: int, content: bytes) -> None:
        """Take a chunk, which are numbered from 1; LAST_CHUNK puts the file in its place.

        Raises UsageError for one that is out of order, BusyError, and what writing may raise: then the upload has
        ended, and the former file is as it was.
        """
        if chunk == 1:
            await self._begin(spot)
        upload = self._uploads.get(spot)
        if upload is None or (chunk not in (upload.received + 1, LAST_CHUNK)):
            received = upload.received if upload is not None else 0
            raise UsageError(f"chunk {chunk} is out of order", f"{received} have come", "upload the file again")
        upload.touched = time.monotonic()
        is_first = upload.received == 0
        upload.received += 1
        try:
            await self._workers.run(lambda: disk.append(spot, upload.temporary, content, is_first=is_first))
            if chunk == LAST_CHUNK:
                await self._workers.run(lambda: disk.put_in_place(spot, upload.temporary))
                self._uploads.pop(spot, None)
        except BaseException:
            await self._drop(spot)
            raise

    async def _begin(self, spot: Spot) -> None:
        if spot in self._uploads:
            await self._drop(spot)
        if len(self._uploads) >= MAX_UPLOADS:
            oldest = min(self._uploads, key=lambda spot: self._uploads[spot].touched)
            if time.monotonic() - self._uploads[oldest].touched < IDLE_SECONDS:
                raise BusyError("too many uploads at once", f"{MAX_UPLOADS} are under way", "try again later")
            await self._drop(oldest)
        self._uploads[spot] = _Upload()

    async def _drop(self, spot: Spot) -> None:
        upload = self._uploads.pop(spot, None)
        if upload is not None:
            await self._workers.run(lambda: disk.drop(spot, upload.temporary))
