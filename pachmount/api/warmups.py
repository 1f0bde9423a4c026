"""The routes that bring files into the cache ahead of their readers."""

from __future__ import annotations

from pachmount.api import answers, schema
from pachmount.api.decode import decode_body
from pachmount.api.handlers import Handler
from pachmount.errors import UsageError


class WarmupsHandler(Handler):
    """GET /warmups (ours): those that run, and the last ones that ended."""

    compatible = False

    async def get(self) -> None:
        warmups = [answers.warmup(warmup) for warmup in self.services.warmups.all()]
        self.answer(schema.WarmupsAnswer(warmups=warmups))


class WarmupHandler(Handler):
    """PUT /_warmup (ours): begin; the answer comes at once and has the id to ask about."""

    compatible = False

    async def put(self) -> None:
        request = decode_body(self.request.body, schema.WarmupRequest)
        self.answer(await self.work(lambda: self._start(request)))

    def _start(self, request: schema.WarmupRequest) -> schema.WarmupStatus:
        self.require_login()
        if not request.mounts:
            raise UsageError("nothing to warm up", "'mounts' is empty")
        wanted: dict[str, list[str]] = {}
        for entry in request.mounts:
            wanted.setdefault(entry.name, []).extend(entry.paths or ["/"])
        return answers.warmup(self.services.warmups.start(wanted))


class WarmupCancelHandler(Handler):
    """PUT /_warmup_cancel (ours): stop one; what it fetched stays in the cache."""

    compatible = False

    async def put(self) -> None:
        request = decode_body(self.request.body, schema.WarmupCancelRequest)
        warmup = self.services.warmups.get(request.id)
        warmup.cancel()
        self.answer(answers.warmup(warmup))
