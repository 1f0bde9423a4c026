"""Blocking work beside Jupyter's loop, above all calls to mounts, which may hang: bounded, and within a deadline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from pachmount.errors import BusyError, ClusterTimeoutError

T = TypeVar("T")

MAX_WORKERS = 8
WORK_SECONDS = 60.0


class Workers:
    """At most so many threads at once, one for each piece of work. For the loop's thread alone.

    They are daemons, unlike those of an executor: one that hangs in a mount does not keep Jupyter from ending.
    """

    def __init__(self, limit: int = MAX_WORKERS, seconds: float = WORK_SECONDS) -> None:
        self._free = asyncio.Semaphore(limit)
        self._seconds = seconds

    async def run(self, work: Callable[[], T]) -> T:
        """What the work comes to. Raises BusyError if nobody is free within the deadline, ClusterTimeoutError if it
        takes longer than that: then it goes on, and what comes of it is nobody's.
        """
        try:
            await asyncio.wait_for(self._free.acquire(), self._seconds)
        except asyncio.TimeoutError as error:
            why = "all that Jupyter's server does with files waits for the mount"
            raise BusyError("the mount does not answer", why, "pachmount doctor") from error
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        threading.Thread(target=self._work, args=(asyncio.get_running_loop(), work, done), daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.shield(done), self._seconds)
        except asyncio.TimeoutError as error:
            why = f"it took more than {self._seconds:.0f} s"
            raise ClusterTimeoutError("the mount does not answer", why, "pachmount doctor") from error

    def _work(self, loop: asyncio.AbstractEventLoop, work: Callable[[], T], done: asyncio.Future[T]) -> None:
        ended: Future[T] = Future()
        try:
            ended.set_result(work())
        except BaseException as error:  # noqa: BLE001 (it is raised again, where it is waited for)
            ended.set_exception(error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._end, done, ended)

    def _end(self, done: asyncio.Future[T], ended: Future[T]) -> None:
        self._free.release()
        error = ended.exception()
        if done.cancelled():
            return
        if error is None:
            done.set_result(ended.result())
        else:
            done.set_exception(error)
            done.exception()  # whoever waited may have gone
