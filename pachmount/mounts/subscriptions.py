"""Streams on which the cluster tells of new commits: a hint that comes sooner than the next look at a branch.

Never more than a hint: a stream does not notice a head that is moved without a commit, repeats the whole history of
the branch when it begins, and may be refused (wire-api.md section 4).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from pachmount.errors import PachmountError
from pachmount.mounts.heads import Branch
from pachmount.pfs.client import PfsClient
from pachmount.pfs.streams import MessageStream

log = logging.getLogger(__name__)

MAX_STREAMS = 16
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds after the end of a stream before the next one is tried; doubled each time, unless it lasted longer."""


class Subscriptions:
    """A stream a branch, MAX_STREAMS at most. `on_commit` is called from the threads of the streams."""

    def __init__(self, on_commit: Callable[[Branch], None]) -> None:
        self._on_commit = on_commit
        self._lock = threading.Lock()
        self._streams: dict[Branch, _Subscription] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def keep(self, client: PfsClient | None, branches: Sequence[Branch]) -> None:
        """Have streams for the first MAX_STREAMS of these branches and no others, all from `client`."""
        wanted = list(branches[:MAX_STREAMS]) if client is not None else []
        with self._lock:
            ended = [s for branch, s in self._streams.items() if branch not in wanted or s.client is not client]
            for subscription in ended:
                del self._streams[subscription.branch]
            for branch in wanted:
                if client is not None and branch not in self._streams:
                    self._streams[branch] = _Subscription(client, branch, self._on_commit)
        for subscription in ended:
            subscription.close()

    def close(self) -> None:
        """End all streams."""
        self.keep(None, ())


class _Subscription:
    """One branch's stream, begun anew when it ends."""

    def __init__(self, client: PfsClient, branch: Branch, on_commit: Callable[[Branch], None]) -> None:
        self.client = client
        self.branch = branch
        self._on_commit = on_commit
        self._lock = threading.Lock()
        self._stream: MessageStream[bytes] | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="commits", daemon=True).start()

    def close(self) -> None:
        with self._lock:
            self._closed.set()
            stream = self._stream
        if stream is not None:
            stream.cancel()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed.is_set():
            started = time.monotonic()
            try:
                self._follow_stream()
            except PachmountError as error:
                log.debug("no stream of commits of %s@%s: %s", *self.branch, error)
            if time.monotonic() - started > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            self._closed.wait(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _follow_stream(self) -> None:
        stream = self.client.subscribe_commits(self.branch.repo, self.branch.name)
        with self._lock:
            self._stream = stream
        if self._closed.is_set():
            stream.cancel()
        for _ in stream:
            self._on_commit(self.branch)
