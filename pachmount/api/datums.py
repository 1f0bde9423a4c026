"""The routes of datums, in both spellings of the original: 2.6 and 2.8."""

from __future__ import annotations

from pachmount.api import schema
from pachmount.api.handlers import Handler
from pachmount.errors import ClusterError, UsageError


class DatumsHandler(Handler):
    """GET /datums: which datum is shown."""

    async def get(self) -> None:
        await self.look(self.require_login)
        self.answer(schema.DatumsAnswer())


class MountDatumsHandler(Handler):
    """PUT /_mount_datums and /datums/_mount: show the datums of an input."""

    async def put(self) -> None:
        await self.look(self.require_login)
        raise ClusterError("datums cannot be mounted yet", "this version of pachmount does not know how")


class ShowDatumHandler(Handler):
    """PUT /_show_datum?idx=N or ?id=ID: show another datum."""

    async def put(self) -> None:
        await self.look(self.require_login)
        raise UsageError("no datums mounted")


class OtherDatumHandler(Handler):
    """PUT /datums/_next and /datums/_prev: show the next or the previous datum."""

    async def put(self) -> None:
        await self.look(self.require_login)
        raise UsageError("no datums mounted")
