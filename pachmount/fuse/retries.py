"""Reads that the kernel repeats: when its read-ahead failed, it asks once more for the page that a program waits for.

The program would wait twice as long for its error. So the repetition of a read that took long to fail gets the same
answer at once. The next read of the program is passed on, since the cluster may be back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable

from pachmount.errors import UnreachableError

LONG_NS = 100_000_000
"""A read that failed sooner may be done again: that costs little."""
SOON_NS = 250_000_000
KEPT = 64


class KernelRetries:
    """Remembers the reads of one mount that took long to fail. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed: dict[Hashable, tuple[int, int, int, UnreachableError]] = {}

    @property
    def has_any(self) -> bool:
        """Whether a read failed lately."""
        return bool(self._failed)

    def refuse(self, file: Hashable, offset: int, size: int) -> None:
        """Raise the error of the read of which this range of bytes is a repetition, if it is one."""
        with self._lock:
            failed = self._failed.pop(file, None)
        if failed is None:
            return
        start, end, when, error = failed
        if start <= offset and offset + size <= end and time.perf_counter_ns() - when < SOON_NS:
            raise error

    def note(self, file: Hashable, offset: int, size: int, began: int, error: UnreachableError) -> None:
        """Remember a read that failed; `began` is when, by `time.perf_counter_ns`."""
        now = time.perf_counter_ns()
        if now - began < LONG_NS:
            return
        with self._lock:
            self._failed[file] = offset, offset + size, now, error
            if len(self._failed) > KEPT:
                del self._failed[next(iter(self._failed))]
