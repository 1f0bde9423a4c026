"""The routes that tell figures: as JSON, and as text for Prometheus."""

from __future__ import annotations

from pachmount.api import prometheus, schema
from pachmount.api.handlers import Handler


class StatsHandler(Handler):
    """GET /stats?mount=NAME (ours): what the daemon and its mounts, all or the named ones, did so far. From memory."""

    compatible = False

    async def get(self) -> None:
        names = self.get_query_arguments("mount")
        self.answer(await self.poll(lambda: self._stats(names)))

    def _stats(self, names: list[str]) -> schema.StatsAnswer:
        wanted = {self.services.manager.get(name).spec.name for name in names}
        answer = self.services.stats()
        if wanted:
            answer.mounts = [mount for mount in answer.mounts if mount.name in wanted]
        return answer


class MetricsHandler(Handler):
    """GET /metrics (ours): the same figures for Prometheus."""

    compatible = False

    async def get(self) -> None:
        text = await self.poll(lambda: prometheus.text(self.services.stats()))
        self.set_header("Content-Type", prometheus.CONTENT_TYPE)
        self.finish(text)
