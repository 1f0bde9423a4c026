"""Following: moves mounts along with their branches, to the newest commit that is finished without an error.

What is new is learned by looking at the heads (`heads.py`, at every poll) and, sooner, by streams of commits
(`subscriptions.py`); `notice` is told. A mount moves at most once in SWAP_SECONDS, and straight to the newest commit.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pachmount.errors import ClusterUnreachableError, PachmountError
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.gone import require_same_cluster
from pachmount.mounts.heads import Branch
from pachmount.mounts.mount import Mount, MountSpec
from pachmount.mounts.resolve import Resolved, check_readable, finish_time
from pachmount.mounts.states import State
from pachmount.mounts.subscriptions import Subscriptions
from pachmount.pfs.ancestry import newest_good
from pachmount.pfs.model import RepoRef

log = logging.getLogger(__name__)

SWAP_SECONDS = 0.5
QUIET_SECONDS = 0.1
"""Commits that a stream tells of in so short a time are looked for once."""
WORKERS = 4
FIRST_RETRY_PAUSE = 1.0
LONGEST_RETRY_PAUSE = 60.0
"""Seconds after a failure before a mount is tried again."""

Advance = Callable[[Mount, Resolved, MountSpec], None]


class Follower:
    """Moves following mounts, each at its own pace: one thread decides when, WORKERS do it.

    `advance` puts a commit in the place of the mount's, if that is still as it was. Nothing here ever unmounts.
    """

    def __init__(self, cluster: Cluster, mounts: Callable[[], list[Mount]], advance: Advance) -> None:
        self._cluster = cluster
        self._mounts = mounts
        self._advance = advance
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="follow")
        self._changed = threading.Condition()
        self._closed = False
        self._due: dict[int, tuple[float, Mount]] = {}
        self._moving: set[int] = set()
        self._thread: threading.Thread | None = None
        self._subscriptions = Subscriptions(self._on_commit)

    @property
    def streams(self) -> int:
        """Streams on which the cluster tells of new commits."""
        return len(self._subscriptions)

    def listen(self) -> None:
        """Have a stream of commits for each followed branch, and for no other. Called whenever the mounts change."""
        branches = sorted({Branch.of(mount) for mount in self._mounts() if mount.spec.follow}, key=str)
        connection = self._cluster.snapshot().connection
        if not self._closed:
            self._subscriptions.keep(connection.client if connection is not None else None, branches)

    def notice(self, mount: Mount, delay: float = 0.0) -> None:
        """Told that a mount may not show what it should: move it in `delay` s, or when it may next be moved."""
        due = time.monotonic() + delay
        with self._changed:
            known = self._due.get(id(mount))
            if self._closed or (known is not None and known[0] <= due):
                return
            self._due[id(mount)] = (due, mount)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="follow", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def step(self, mount: Mount) -> None:
        """Move a mount to the newest commit that can be shown; raises what keeps it from that."""
        spec = mount.spec
        if not spec.follow or mount.state is not State.MOUNTED:
            return
        client, source = self._cluster.client, spec.source
        repo = RepoRef(source.project, source.repo)
        created = check_readable(client, repo)
        head = client.inspect_branch(repo, source.branch).head.id
        shown = source.commit if spec.complete else ""
        found, note = newest_good(client, repo, head, shown)
        if found is not None:
            require_same_cluster(self._cluster, spec)
            at = source.at(found.commit.id)
            resolved = Resolved(at, finish_time(found), pinned=False, head=head, created=created)
            self._advance(mount, resolved, spec)
        mount.note = note

    def close(self) -> None:
        """End the streams; a move under way is finished, no other is begun."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._subscriptions.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _on_commit(self, branch: Branch) -> None:
        """A stream told of a commit, perhaps of one that is long known."""
        for mount in self._mounts():
            if mount.spec.follow and Branch.of(mount) == branch:
                self.notice(mount, QUIET_SECONDS)

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                waiting = {
                    key: max(due, mount.pace.not_before)
                    for key, (due, mount) in self._due.items()
                    if key not in self._moving
                }
                for key in [key for key, due in waiting.items() if due <= now]:
                    del waiting[key]
                    self._moving.add(key)
                    self._pool.submit(self._move, self._due.pop(key)[1])
                self._changed.wait(max(0.0, min(waiting.values()) - now) if waiting else None)

    def _move(self, mount: Mount) -> None:
        """One step, and when the next may follow."""
        pace, pause = mount.pace, SWAP_SECONDS
        started = time.monotonic()
        try:
            self.step(mount)
            pace.failures = 0
        except ClusterUnreachableError as error:  # the status of the cluster tells of it, the next look begins anew
            log.debug("cannot follow %s: %s", mount.spec.source, error)
        except PachmountError as error:
            log.info("cannot follow %s: %s", mount.spec.source, error)
            mount.note = str(error)
            pause = min(LONGEST_RETRY_PAUSE, FIRST_RETRY_PAUSE * 2**pace.failures)
            pace.failures += 1
        except Exception:
            log.exception("following %s failed", mount.spec.source)
            pause = LONGEST_RETRY_PAUSE
        finally:
            pace.not_before = started + pause
            with self._changed:
                self._moving.discard(id(mount))
                self._changed.notify_all()
