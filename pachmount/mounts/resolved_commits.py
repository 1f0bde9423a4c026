"""Commits that were resolved a moment ago: the cluster is not asked for each of a thousand files of one."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from pachmount.mounts.resolve import Resolved, resolve
from pachmount.names import Source, is_commit_id
from pachmount.pfs.client import PfsClient

FINISH_SECONDS = 15.0
"""How long a commit that is being finished is waited for."""
KEPT_SECONDS = 5.0
"""So late a permission that was taken away, or a commit that was deleted, is noticed."""
MAX_KEPT = 64


class ResolvedCommits:
    """Thread-safe. Only what names its commit by the whole id is kept: a branch moves."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[Source, tuple[float, PfsClient, Resolved]] = OrderedDict()

    def get(self, client: PfsClient, source: Source) -> Resolved:
        """As `resolve`, whose errors it raises."""
        if not is_commit_id(source.commit):
            return resolve(client, source, FINISH_SECONDS)
        commit = replace(source, path="")
        with self._lock:
            kept = self._kept.get(commit)
        if kept is not None and kept[1] is client and self._clock() - kept[0] < KEPT_SECONDS:
            return kept[2]
        resolved = resolve(client, commit, FINISH_SECONDS)
        with self._lock:
            self._kept[commit] = (self._clock(), client, resolved)
            self._kept.move_to_end(commit)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return resolved
