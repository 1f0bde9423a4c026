"""What is staged in all mounts of one daemon: committed, compared, given up, settled, kept."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

from pachmount.errors import (
    BusyError,
    ClusterError,
    GoneError,
    NotFoundError,
    NotPermittedError,
    PachmountError,
    UnreachableError,
    UsageError,
)
from pachmount.mounts.committing import Committed, CommitWish, Progress
from pachmount.mounts.elsewhere import Elsewhere
from pachmount.mounts.mount import Mount
from pachmount.mounts.sessions import Sessions
from pachmount.mounts.staged_places import way_out
from pachmount.mounts.states import Event, State
from pachmount.mounts.table import MountTable
from pachmount.mounts.writing import Writing
from pachmount.names import Source, check_mount_name
from pachmount.overlay.difference import Difference
from pachmount.overlay.kept import Kept, kept_in
from pachmount.overlay.staged_work import Look, StagedWork, as_difference, items_of, looks

log = logging.getLogger(__name__)

SHUTDOWN_COMMITS = 4
"""How many mounts are committed at a time when the daemon stops."""
LAST_COMMIT_SECONDS = 3.0
"""How long a commit that is given up may take to notice."""
_NO_COMMIT = (UnreachableError, NotFoundError, GoneError, NotPermittedError, ClusterError)
"""What the cluster may say in the place of the commit that was changed."""


class StagedChanges:
    """The staged changes of all mounts. Every method may be called from any thread."""

    def __init__(self, table: MountTable, sessions: Sessions, writing: Writing) -> None:
        self._table = table
        self._sessions = sessions
        self._writing = writing
        self._elsewhere = Elsewhere(writing)

    def commit(self, name: str, wish: CommitWish) -> Committed | None:
        """Commit what is staged in a mount; None if there is nothing. After a failure all stays staged."""
        mount = self._table.get(name)
        if mount.spec.mode != "rw":
            return None
        with self._table.operation(mount):
            self.revive(mount)
            return self.commit_in_operation(mount, wish)

    def commit_to(self, name: str, target: Source, wish: CommitWish) -> Committed | None:
        """Commit what is staged under a name, mounted or not, into any branch, and give it up under that name."""
        with self._holding(name) as mount:
            self._require_kept(name, mount)
            return self._elsewhere.commit(mount.spec.name if mount else name, mount, target, wish)

    def difference(self, name: str, paths: Collection[str] = ()) -> tuple[Difference, str]:
        """What a commit of what is staged under a name would change, at some paths (with a leading slash) and below.

        Also why the commit that was changed could not be compared with, "" if it was.
        """
        wanted = [os.fsencode(path) for path in paths]
        mount = self._table.find(name)
        if mount is None or mount.overlay is None:
            self._require_kept(name, mount)
            return as_difference(self._work(mount.spec.name if mount else name).items).at(
                wanted
            ), "it is not mounted for writing"
        try:
            return self._writing.difference(mount, wanted), ""
        except _NO_COMMIT as error:
            return as_difference(items_of(mount.overlay.snapshot())).at(wanted), str(error)

    def patch(self, name: str, paths: Collection[str]) -> tuple[Difference, str]:
        """The same of a read-write mount, and as a patch."""
        mount = self._table.find(name)
        if mount is None or mount.overlay is None:
            self._require_kept(name, mount)
            why = "a patch needs the commit that was changed"
            raise UsageError(f"what is staged under '{name}' is not mounted for writing", why, way_out(name))
        return self._writing.patch(mount, [os.fsencode(path) for path in paths])

    def discard(self, name: str, paths: Collection[str] = ()) -> None:
        """Give up staged changes at some paths (with a leading slash) and below; none = all, mounted or not."""
        with self._holding(name) as mount:
            if mount is not None and mount.spec.mode == "rw" and paths:
                self.revive(mount)
                self._writing.discard(mount, [os.fsencode(path) for path in paths])
                return
            self._require_kept(name, mount)
            if paths:
                why = "single paths can be given up in a read-write mount only"
                raise UsageError(f"what is staged under '{name}' is not mounted for writing", why, way_out(name))
            if mount is not None:
                self._writing.discard_all(mount)
            else:
                self._writing.places.clear(name)

    def entries(self) -> list[tuple[Look, str, str]]:
        """All staged directories: what is in each, how it is mounted (ro, rw or ""), and the state of its commit."""
        modes = {mount.spec.name: mount.spec.mode for mount in self._table.all() if mount.spec.datum is None}
        found = looks(self._writing.places.directory)
        states = self._elsewhere.states(found)
        return [(look, modes.get(look.name, ""), state) for look, state in zip(found, states, strict=True)]

    @contextmanager
    def _holding(self, name: str) -> Iterator[Mount | None]:
        """Nothing else happens meanwhile to what is staged under a name, nor to its mount, if there is one."""
        mount = self._table.find(name)
        if mount is None:
            with self._writing.places.hold(check_mount_name(name)):
                mount = self._table.find(name)
                if mount is None:
                    if self._sessions.is_in_use(name):
                        why = "files of its former mount are still open"
                        raise BusyError(f"what is staged under '{name}' is in use", why, "close them")
                    yield None
                    return
        with self._table.operation(mount):
            yield mount

    def _require_kept(self, name: str, mount: Mount | None) -> None:
        """Raise NotFoundError or UsageError if nothing is staged under a name that no read-write mount has."""
        if mount is not None and mount.spec.mode == "rw":
            return
        if self._writing.places.has_changes(check_mount_name(mount.spec.name if mount is not None else name)):
            return
        if mount is None:
            raise NotFoundError(f"no mount '{name}'", "", "pachmount staged list")
        why = "it was mounted read-only"
        raise UsageError(f"mount '{name}' has no staged changes", why, f"pachmount remount {name} --rw")

    def _work(self, name: str) -> StagedWork:
        """What is staged under a name that no read-write mount shows. DataError."""
        return StagedWork.read(self._writing.places.of(name))

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
            if not error.hint or isinstance(error, NotFoundError):
                error.hint = way_out(mount.spec.name)
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
