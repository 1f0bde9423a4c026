"""Views of commits that no mount shows, for those who browse: the last ones used, and not for ever."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pachmount.errors import BusyError
from pachmount.mounts.cluster import Cluster, Connection
from pachmount.mounts.mount import MountSpec
from pachmount.mounts.mounter import Mounter
from pachmount.mounts.resolve import Resolved
from pachmount.vfs.statistics import MountStatistics
from pachmount.vfs.view import CommitView

log = logging.getLogger(__name__)

MAX_VIEWS = 16
MAX_LISTING_BYTES = 256 << 20
"""Memory for the listings of all views but the one used last."""
IDLE_SECONDS = 600.0
"""How long a view is kept that nobody asks for."""


class _Key(NamedTuple):
    project: str
    repo: str
    commit: str
    complete: bool


@dataclass
class _Open:
    view: CommitView
    connection: Connection
    users: int
    used_at: float


class OpenViews:
    """Thread-safe. A view in use is not closed; at most MAX_VIEWS are open."""

    def __init__(self, cluster: Cluster, mounter: Mounter, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds."""
        self._cluster = cluster
        self._mounter = mounter
        self._clock = clock
        self._lock = threading.Lock()
        self._open: OrderedDict[_Key, _Open] = OrderedDict()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def use(self, resolved: Resolved) -> Iterator[CommitView]:
        """The view of a commit. BusyError if MAX_VIEWS others are all in use."""
        opened = self._take(resolved, self._cluster.connection)
        self.close_unneeded()
        try:
            yield opened.view
        finally:
            with self._lock:
                opened.users -= 1
                opened.used_at = self._clock()

    def close_unneeded(self) -> None:
        """Close those that were idle for long, are of another cluster than the one in use, or take too much memory."""
        connection = self._cluster.snapshot().connection
        now = self._clock()
        with self._lock:
            gone = [
                key
                for key, each in self._open.items()
                if not each.users and (each.connection is not connection or now - each.used_at > IDLE_SECONDS)
            ]
            closing = [self._open.pop(key) for key in gone]
            sizes = {key: _listing_bytes(each.view) for key, each in list(self._open.items())[:-1]}
            total = sum(sizes.values())
            for key, size in sizes.items():
                if total > MAX_LISTING_BYTES and not self._open[key].users:
                    closing.append(self._open.pop(key))
                    total -= size
        _close(closing)

    def close(self) -> None:
        """Close all; there will be no more."""
        with self._lock:
            self._is_closed = True
            closing = list(self._open.values())
            self._open.clear()
        _close(closing)

    def _take(self, resolved: Resolved, connection: Connection) -> _Open:
        source = resolved.source
        key = _Key(source.project, source.repo, source.commit, resolved.complete)
        closing: list[_Open] = []
        try:
            with self._lock:
                found = self._open.get(key)
                if found is not None and found.connection is not connection:
                    closing.append(self._open.pop(key))
                    found = None
                if found is None:
                    closing += self._make_room()
                    found = self._open[key] = _Open(self._view(resolved), connection, 0, self._clock())
                found.users += 1
                self._open.move_to_end(key)
                return found
        finally:
            _close(closing)

    def _make_room(self) -> list[_Open]:
        if self._is_closed:
            raise BusyError("no more commits are opened", "the daemon is stopping")
        if len(self._open) < MAX_VIEWS:
            return []
        for key, each in self._open.items():
            if not each.users:
                return [self._open.pop(key)]
        raise BusyError("too many commits are looked at", f"{MAX_VIEWS} others are being listed", "try again")

    def _view(self, resolved: Resolved) -> CommitView:
        """What a mount of all files would show; its listing begins to load in the background."""
        source = resolved.source
        spec = MountSpec("", source, Path(), time=resolved.time, pinned=True, complete=resolved.complete)
        log.info("browsing %s", source)
        return self._mounter.view(spec, MountStatistics())


def _listing_bytes(view: CommitView) -> int:
    listing = view.tree.listing
    return 0 if listing is None else listing.memory_bytes


def _close(closing: list[_Open]) -> None:
    for each in closing:
        each.view.close()
