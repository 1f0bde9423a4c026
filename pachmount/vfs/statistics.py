"""What one mount did and how long it took: counters and latency histograms, cheap enough for every file operation.

Nothing here takes a lock on the way of a file operation. `x += 1` on a plain attribute or list element loses nothing
in CPython with its global lock: a thread is only ever interrupted at calls and at jumps backwards (a test watches
that). What is counted once a request to the cluster takes a lock.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate, count

from pachmount.vfs.tracing import Trace

_SERIES = (100, 112, 125, 140, 160, 180, 200, 224, 250, 280, 315, 355, 400, 450, 500, 560, 630, 710, 800, 900)
"""Percent: twenty steps a decade, each at most 15 % above the one before, with round numbers among them."""
_FIRST_NS, _DECADES = 1000, 8
BOUNDS: tuple[int, ...] = (
    *(step * _FIRST_NS * 10**decade // 100 for decade in range(_DECADES) for step in _SERIES),
    _FIRST_NS * 10**_DECADES,
)
"""Upper bounds of the buckets in nanoseconds, 1 µs to 100 s; a last bucket takes what is longer."""


class Histogram:
    """How long something took, in buckets: bounded memory whatever is recorded."""

    __slots__ = ("buckets", "longest", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.total = 0
        self.longest = 0

    def record(self, nanoseconds: int, weight: int = 1) -> None:
        """Count one, or one that stands for `weight` like it."""
        self.buckets[bisect_left(BOUNDS, nanoseconds)] += weight
        self.total += nanoseconds * weight
        if nanoseconds > self.longest:
            self.longest = nanoseconds

    @property
    def count(self) -> int:
        return sum(self.buckets)

    def percentile(self, part: float) -> int:
        """A duration (ns) that `part` (0 to 1) of all do not exceed: at most 15 % above the exact one; 0 for none."""
        totals = list(accumulate(self.buckets))
        if not totals[-1]:
            return 0
        index = bisect_left(totals, max(1.0, part * totals[-1]))
        return min(BOUNDS[index], self.longest) if index < len(BOUNDS) else self.longest

    def filled(self) -> list[tuple[int, int]]:
        """Upper bound (ns) and count of each bucket that is not empty."""
        bounds = (*BOUNDS, max(self.longest, BOUNDS[-1] + 1))
        return [(bound, count) for bound, count in zip(bounds, self.buckets, strict=True) if count]


class MountStatistics:
    """Everything that is counted of one mount, over all commits that it showed.

    `lookups` counts exactly what `lookup_times` may have a sample of; `readdirs` and `reads` are calls of the kernel,
    too. `fetches` is the time until a content request gave its first piece, or filled the first block. Blocks count as
    `memory_hits`, `disk_hits` or `misses` each time a read touches them. `missing` are look-ups of names that do not
    exist: an answer, no error.
    """

    def __init__(self) -> None:
        self.trace: Trace | None = None
        self.lookups = 0
        self.lookup_times = Histogram()
        self.readdirs = Histogram()
        self.reads = Histogram()
        self.fetches = Histogram()
        self.xattrs = 0
        self.statfs = 0
        self.missing = 0
        self.read_bytes = 0
        self.memory_hits = 0
        self.disk_hits = 0
        self.misses = 0
        self.fetched_bytes = 0
        self.requests: Counter[str] = Counter()
        self.requests_in_flight = 0
        self.errors: Counter[int] = Counter()
        self._traced = count(1)
        self._lock = threading.Lock()

    def traced(self) -> Trace:
        """The trace of file operations, which begins now if there is none."""
        with self._lock:
            if self.trace is None or not self.trace.is_wanted:
                self.trace = Trace(self._traced)
            return self.trace

    def failed(self, number: int) -> None:
        """A file operation was answered with this errno because it went wrong."""
        with self._lock:
            self.errors[number] += 1

    @contextmanager
    def request(self, method: str) -> Iterator[None]:
        """Count a call to the cluster, which is in flight until the end of the block."""
        self.begin(method)
        try:
            yield
        finally:
            self.end()

    def begin(self, method: str) -> None:
        with self._lock:
            self.requests[method] += 1
            self.requests_in_flight += 1

    def end(self) -> None:
        with self._lock:
            self.requests_in_flight -= 1

    def received(self, size: int) -> None:
        """Bytes of content came from the cluster."""
        with self._lock:
            self.fetched_bytes += size

    def snapshot(self) -> tuple[dict[str, int], dict[int, int]]:
        """Requests by method and errors by errno at one moment."""
        with self._lock:
            return dict(self.requests), dict(self.errors)
