"""The routes that are about the daemon itself."""

from __future__ import annotations

from pachmount.api.handlers import Handler


class ReloadHandler(Handler):
    """PUT /daemon/_reload (ours): read the settings again; what can change while the daemon runs does."""

    compatible = False

    async def put(self) -> None:
        self.answer(await self.work(self.services.reload))
