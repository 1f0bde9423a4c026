"""Running an operation of a mount that somebody traces."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Any, Protocol

from pachmount.vfs.statistics import MountStatistics
from pachmount.vfs.tracing import Trace

log = logging.getLogger(__name__)

_RANGES = {"read": (3, 2), "write": (3, 2), "truncate": (0, 1), "ftruncate": (0, 1), "fallocate": (2, 3)}
"""Which arguments of an operation are its offset and its size; 0 = none."""


class Operations(Protocol):
    """What answers the kernel."""

    statistics: MountStatistics

    def failed(self, error: BaseException) -> int:
        """The negative errno for an exception."""


def traced(trace: Trace, operations: Operations, function: Callable[..., int | None], args: Sequence[Any]) -> int:
    """What `function` answers the kernel, noted in the trace, unless nobody wants that any more. Never raises."""
    started = perf_counter_ns()
    try:
        result = function(*args) or 0
    except BaseException as error:  # noqa: BLE001 (nothing may leave a callback: libfuse would read garbage)
        result = operations.failed(error)
    try:
        if not trace.is_wanted:
            operations.statistics.trace = None
            return result
        path = args[0].decode(errors="backslashreplace") if isinstance(args[0], bytes) else ""
        offset, size = (args[place] if place else None for place in _RANGES.get(function.__name__, (0, 0)))
        trace.record(function.__name__, path, offset, size, result, (perf_counter_ns() - started) / 1e9)
    except Exception:
        log.exception("%s could not be traced", function.__name__)
    return result
