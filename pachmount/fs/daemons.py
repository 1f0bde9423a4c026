"""Connections to the daemon that threads share, one at a time each."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

from pachmount import paths, reach
from pachmount.client import DaemonClient

MOST_IDLE = 8
"""Connections that are kept for the next call."""


class Daemons:
    """Clients of the daemon of a mount directory (None: the usual one), which is started if none runs."""

    def __init__(self, mount_dir: str | None) -> None:
        self._mount_dir = Path(mount_dir) if mount_dir is not None else None
        self._lock = threading.Lock()
        self._idle: list[DaemonClient] = []
        self._pid = os.getpid()
        weakref.finalize(self, _close, self._idle)

    @contextlib.contextmanager
    def client(self) -> Iterator[DaemonClient]:
        """A client for one call, or for the pieces of one file. Raises what starting the daemon does."""
        client = self._taken() or self._connect()
        try:
            yield client
        except BaseException:
            client.close()
            raise
        with self._lock:
            if len(self._idle) < MOST_IDLE and self._pid == os.getpid():
                self._idle.append(client)
                return
        client.close()

    def _taken(self) -> DaemonClient | None:
        with self._lock:
            if self._pid != os.getpid():  # after a fork: the connections are the parent's
                self._idle.clear()
                self._pid = os.getpid()
            return self._idle.pop() if self._idle else None

    def _connect(self) -> DaemonClient:
        places = paths.places(self._mount_dir)
        reach.ensure_reachable(places)
        return reach.reach(places)


def _close(clients: list[DaemonClient]) -> None:
    for client in clients:
        client.close()
