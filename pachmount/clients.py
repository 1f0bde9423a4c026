"""Clients of the daemon that threads share, each used by one thread at a time."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pachmount.errors import PachmountError, UnreachableError

if TYPE_CHECKING:
    from pachmount.client import DaemonClient

MOST_IDLE = 8
"""Clients that are kept for the next call."""


class Clients:
    """Clients of one daemon, made by `make` when they are needed. Thread-safe; a forked process has its own."""

    def __init__(self, make: Callable[[], DaemonClient]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[DaemonClient] = []
        self._process = os.getpid()
        self._is_closed = False
        weakref.finalize(self, _close, self._idle)

    @contextmanager
    def one(self) -> Iterator[DaemonClient]:
        """A client for the calls of one thread. Raises what `make` does."""
        client = self._taken() or self._make()
        is_usable = True
        try:
            yield client
        except BaseException as error:
            is_usable = isinstance(error, PachmountError) and not isinstance(error, UnreachableError)  # it was answered
            raise
        finally:
            if not (is_usable and self._is_kept(client)):
                client.close()

    def close(self) -> None:
        """Close all connections. What is asked afterwards gets one of its own."""
        with self._lock:
            self._is_closed = True
            _close(self._idle)

    def _taken(self) -> DaemonClient | None:
        with self._lock:
            if self._process != os.getpid():  # the connections are our parent's
                _close(self._idle)
                self._process = os.getpid()
            return self._idle.pop() if self._idle else None

    def _is_kept(self, client: DaemonClient) -> bool:
        with self._lock:
            if self._is_closed or self._process != os.getpid() or len(self._idle) >= MOST_IDLE:
                return False
            self._idle.append(client)
            return True


def _close(clients: list[DaemonClient]) -> None:
    while clients:
        clients.pop().close()
