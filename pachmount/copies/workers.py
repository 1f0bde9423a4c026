"""Several files at a time, a bounded number of them; the first error ends the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from typing import TypeVar

AT_ONCE = 8
T = TypeVar("T")


class Tally:
    """How many files and bytes are there. Thread-safe; `show` is told of each change, by one thread at a time."""

    def __init__(self, show: Callable[[int, int], None]) -> None:
        self._show = show
        self._lock = threading.Lock()
        self.is_stopped = False
        self.files = 0
        self.bytes = 0

    def count_bytes(self, number: int) -> None:
        """Raises CancelledError once the work is stopped: a large file is not brought to its end then."""
        if self.is_stopped:
            raise CancelledError
        with self._lock:
            self.bytes += number
            self._show(self.files, self.bytes)

    def count_file(self) -> None:
        with self._lock:
            self.files += 1
            self._show(self.files, self.bytes)


def each(work: Callable[[T], None], jobs: Iterable[T], tally: Tally) -> None:
    """Do the work for all jobs, which `tally` counts. The first error, also Ctrl-C, stops the others, and is raised."""
    running: set[Future[None]] = set()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="copy") as pool:
        try:
            for job in jobs:
                running.add(pool.submit(work, job))
                if len(running) >= 2 * AT_ONCE:
                    running = _ended(running)
            while running:
                running = _ended(running)
        except BaseException:
            tally.is_stopped = True
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _ended(running: set[Future[None]]) -> set[Future[None]]:
    """Wait until one has ended; those that have not. Raises the error of one that failed."""
    done, left = wait(running, return_when=FIRST_COMPLETED)
    for one in done:
        one.result()
    return left
