"""What is staged in all mounts of one daemon: committed, compared, given up, settled, kept."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor, wait

from pachmount.errors import PachmountError
from pachmount.mounts.committing import Committed, CommitWish, Progress
from pachmount.mounts.mount import Mount
from pachmount.mounts.sessions import Sessions
from pachmount.mounts.states import Event, State
from pachmount.mounts.table import MountTable
from pachmount.mounts.writing import Writing
from pachmount.overlay.difference import Difference
from pachmount.overlay.kept import Kept, kept_in

log = logging.getLogger(__name__)

SHUTDOWN_COMMITS = 4
"""How many mounts are committed at a time when the daemon stops."""
LAST_COMMIT_SECONDS = 3.0
"""How long a commit that is given up may take to notice."""


class StagedChanges:
    """The staged changes of all mounts. Every method may be called from any thread."""

    def __init__(self, table: MountTable, sessions: Sessions, writing: Writing) -> None:
        self._table = table
        self._sessions = sessions
        self._writing = writing

    def commit(self, name: str, wish: CommitWish) -> Committed | None:
        """Commit what is staged in a mount; None if there is nothing. After a failure all stays staged."""
        mount = self._table.get(name)
        if mount.spec.mode != "rw":
            return None
        with self._table.operation(mount):
            self.revive(mount)
            return self.commit_in_operation(mount, wish)

    def difference(self, name: str, paths: Collection[str] = ()) -> Difference:
        """What a commit of a read-write mount would change, at some paths (with a leading slash) and below."""
        return self._writing.difference(self._table.get(name), [os.fsencode(path) for path in paths])

    def patch(self, name: str, paths: Collection[str]) -> tuple[Difference, str]:
        """The same, and as a patch."""
        return self._writing.patch(self._table.get(name), [os.fsencode(path) for path in paths])

    def discard(self, name: str, paths: Collection[str]) -> None:
        """Give up staged changes at some paths (with a leading slash) and below; none = all."""
        mount = self._table.get(name)
        with self._table.operation(mount):
            if paths:
                self.revive(mount)
                self._writing.discard(mount, [os.fsencode(path) for path in paths])
            else:
                self._writing.discard_all(mount)

    def settle_commits(self) -> None:
        """Find out what became of commits that were cut off. Failures are logged: it is tried again."""
        for mount in self._table.all():
            if mount.overlay is None or not mount.operation.acquire(blocking=False):
                continue
            try:
                before = mount.spec
                if self._writing.is_unsettled(mount):
                    self._writing.settle(mount)
                if mount.spec != before:
                    self._table.save()
            except PachmountError as error:
                log.info("a commit of %s is still unsettled: %s", mount.spec.name, error)
            finally:
                mount.operation.release()

    def commit_all(self, timeout: float) -> None:
        """Commit everything that is staged, as far as that is done within `timeout` seconds; the rest stays staged."""
        waiting = [mount for mount in self._table.all() if mount.overlay is not None and mount.overlay.is_changed]
        if not waiting:
            return
        deadline = time.monotonic() + timeout
        wish = CommitWish(allow_open=True, skip_invalid=True)
        pool = ThreadPoolExecutor(min(len(waiting), SHUTDOWN_COMMITS), thread_name_prefix="last-commit")
        futures = {pool.submit(self.commit, mount.spec.name, wish): mount for mount in waiting}
        late = wait(futures, max(0.0, deadline - time.monotonic())).not_done
        for future in late:
            future.cancel()
            progress = futures[future].progress
            if progress is not None:
                progress.stopped = True
        wait(late, LAST_COMMIT_SECONDS)
        pool.shutdown(wait=False, cancel_futures=True)
        for future, mount in futures.items():
            failure = None if future.cancelled() or not future.done() else future.exception()
            if failure is not None:
                log.warning("%s was not committed, its changes stay staged: %s", mount.spec.name, failure)
            elif future in late:
                log.warning("%s was not committed within %.0f s, its changes stay staged", mount.spec.name, timeout)

    def kept_changes(self) -> list[Kept]:
        """What is staged under names that no read-write mount shows."""
        shown = {mount.spec.name for mount in self._table.all() if mount.overlay is not None}
        return [each for each in kept_in(self._writing.places.directory) if each.name not in shown]

    def commit_in_operation(self, mount: Mount, wish: CommitWish) -> Committed | None:
        """The same for a read-write mount whose operation the caller holds."""
        mount.on(Event.COMMIT)
        before = mount.spec
        mount.progress = Progress()
        try:
            made = self._writing.commit(mount, wish)
            mount.note = ""
        except PachmountError as error:
            mount.note = f"not committed: {error}"
            raise
        finally:
            mount.progress = None
            mount.on(Event.DONE)
            if mount.spec != before:
                self._table.save()
        if made is not None:
            log.info("committed %s as %s", mount.spec.name, made.info.commit)
        return made

    def revive(self, mount: Mount) -> None:
        """Bring a read-write mount back that is in state error: what is staged in it can be reached again.

        The caller holds its operation.
        """
        if mount.spec.mode == "rw" and mount.state is State.ERROR and mount.overlay is None:
            self._sessions.restart(mount)
