"""The routes that are about the daemon itself."""

from __future__ import annotations

import errno

from pachmount.api import schema
from pachmount.api.handlers import Handler, whole_number
from pachmount.vfs.tracing import Operation

MAX_TRACED = 2000


class ReloadHandler(Handler):
    """PUT /daemon/_reload (ours): read the settings again; what can change while the daemon runs does."""

    compatible = False

    async def put(self) -> None:
        self.answer(await self.work(self.services.reload))


class TraceHandler(Handler):
    """GET /trace?mount=NAME&after=NUMBER (ours): file operations of a mount. Without `after` it begins to note
    them, and tells the number to go on with. Nothing is noted any more once nobody asks.
    """

    compatible = False

    async def get(self) -> None:
        name, number = self.get_query_argument("mount", ""), self.get_query_argument("after", "")
        after = whole_number(number, "after") if number else None
        self.answer(await self.poll(lambda: self._trace(name, after)))

    def _trace(self, name: str, after: int | None) -> schema.TraceAnswer:
        trace = self.services.manager.get(name).statistics.traced()
        if after is None:
            return schema.TraceAnswer(next=trace.last)
        operations = trace.after(after, MAX_TRACED)
        if not operations:
            return schema.TraceAnswer(next=after)
        lost = operations[0].number - after - 1
        return schema.TraceAnswer(
            operations=[_told(each) for each in operations], lost=lost, next=operations[-1].number
        )


def _told(operation: Operation) -> schema.TracedOperation:
    error = errno.errorcode.get(-operation.result, "") if operation.result < 0 else ""
    return schema.TracedOperation(
        number=operation.number,
        time=operation.time,
        operation=operation.name,
        path=operation.path,
        offset=operation.offset,
        size=operation.size,
        result=operation.result,
        error=error,
        seconds=operation.seconds,
    )
