"""What goes to the cluster, counted where it leaves: calls by method, failures by kind, repetitions."""

from __future__ import annotations

import threading
from collections import Counter

from pachmount.errors import PachmountError


class Traffic:
    """The counters of one process over all its connections; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._retries = 0

    def called(self, method: str) -> None:
        """A call of `/package.Service/Method` leaves."""
        with self._lock:
            self._calls[method.rpartition("/")[2]] += 1

    def failed(self, error: PachmountError) -> None:
        with self._lock:
            self._errors[error.id] += 1

    def retried(self) -> None:
        with self._lock:
            self._retries += 1

    def snapshot(self) -> tuple[dict[str, int], dict[str, int], int]:
        """Calls by method, errors by id, retries."""
        with self._lock:
            return dict(sorted(self._calls.items())), dict(sorted(self._errors.items())), self._retries
