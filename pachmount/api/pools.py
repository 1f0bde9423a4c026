"""The threads that work on requests: a pool for each kind of wait, so that slow work cannot delay fast requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from pachmount.errors import OverloadedError

T = TypeVar("T")

WAITING_PER_THREAD = 16
"""How many requests wait for each thread of a pool before more of them are refused."""


class PoolState(NamedTuple):
    """What a pool is doing: `threads` requests run at once, `waiting_limit` may wait."""

    name: str
    running: int
    threads: int
    waiting: int
    waiting_limit: int


class Pool(Executor):
    """Threads with a queue that has an end: `submit` raises OverloadedError when it is full."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self._threads = threads
        self._waiting_limit = WAITING_PER_THREAD * threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._taken = 0

    def submit(self, work: Callable[..., T], /, *arguments: Any, **options: Any) -> Future[T]:
        """Let a thread do the work as soon as one is free. Raises OverloadedError."""
        with self._lock:
            if self._taken >= self._threads + self._waiting_limit:
                why = f"{self._taken} requests of the kind '{self.name}' are under way or waiting"
                raise OverloadedError("the daemon has too much to do", why, "try again; pachmount status -v shows why")
            self._taken += 1
        try:
            future = self._executor.submit(work, *arguments, **options)
        except BaseException:
            self._leave()
            raise
        future.add_done_callback(self._leave)
        return future

    def state(self) -> PoolState:
        """What the pool is doing now."""
        taken = self._taken
        running = min(taken, self._threads)
        return PoolState(self.name, running, self._threads, taken - running, self._waiting_limit)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Begin nothing more."""
        self._executor.shutdown(wait=wait, cancel_futures=cancel_futures)

    def _leave(self, _: object = None) -> None:
        with self._lock:
            self._taken -= 1


class Pools:
    """`poll` answers from memory, `watch` asks the cluster for a moment, `look` for as long as a call may take.

    `work` changes something, `upload` sends data for as long as that takes, `stream` reads pieces of files, `login`
    waits for a person.
    """

    def __init__(self) -> None:
        self.poll = Pool("poll", 4)
        self.watch = Pool("watch", 8)
        self.look = Pool("look", 16)
        self.work = Pool("work", 8)
        self.upload = Pool("upload", 16)
        self.stream = Pool("stream", 8)
        self.login = Pool("login", 4)
        self._all = (self.poll, self.watch, self.look, self.work, self.upload, self.stream, self.login)

    def states(self) -> list[PoolState]:
        """What each pool is doing."""
        return [pool.state() for pool in self._all]

    def close(self) -> None:
        """Begin nothing more; what runs is not waited for."""
        for pool in self._all:
            pool.shutdown(wait=False, cancel_futures=True)
