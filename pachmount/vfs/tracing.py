"""A trace of the file operations of one mount: a bounded ring that exists only while somebody asks for it."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

KEPT = 10_000
"""How many operations wait for whoever traces; when more come, the oldest go."""
PATIENCE = 15.0
"""Seconds after which a trace that nobody asked for any more ends."""


@dataclass(frozen=True)
class Operation:
    """One operation of the kernel. `time` in seconds since the epoch, `seconds` is how long it took.

    `result` is what the kernel got: bytes of a read or write, 0, or the negative errno. Offset and size are None where
    the operation has none.
    """

    number: int
    time: float
    name: str
    path: str
    offset: int | None
    size: int | None
    result: int
    seconds: float


class Trace:
    """Thread-safe; `record` is called by the threads that serve the mount."""

    def __init__(self, numbers: Iterator[int]) -> None:
        """`numbers` for the operations: they go on over all traces of a mount."""
        self._numbers = numbers
        self._operations: deque[Operation] = deque(maxlen=KEPT)
        self._lock = threading.Lock()
        self._asked = time.monotonic()
        self.last = 0
        """The number of the newest operation."""

    @property
    def is_wanted(self) -> bool:
        """Whether somebody asked lately."""
        return time.monotonic() - self._asked < PATIENCE

    def record(self, name: str, path: str, offset: int | None, size: int | None, result: int, seconds: float) -> None:
        """Note an operation that has just ended."""
        began = time.time() - seconds
        with self._lock:
            self.last = number = next(self._numbers)
            self._operations.append(Operation(number, began, name, path, offset, size, result, seconds))

    def after(self, number: int, most: int) -> list[Operation]:
        """The oldest operations, `most` at most, that came after the one of that number."""
        self._asked = time.monotonic()
        with self._lock:
            return list(itertools.islice((each for each in self._operations if each.number > number), most))
