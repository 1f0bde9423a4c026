"""The manager of all mounts: make, move, remove, remember, restore.

Locks: those of `MountTable`. Calls to the cluster and to the kernel happen while at most a mount's operation is held.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from pachmount.errors import BusyError, CannotMountError, NotFoundError, PachmountError, UsageError
from pachmount.fuse import kernel
from pachmount.mounts import places
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.committing import Committed, CommitWish, Progress
from pachmount.mounts.datum_mode import DatumMode
from pachmount.mounts.follow import Follower
from pachmount.mounts.heads import HeadWatch
from pachmount.mounts.mount import BranchPosition, Mount, MountSpec
from pachmount.mounts.mounter import Mounter
from pachmount.mounts.resolve import Resolved, resolve, resolve_writable
from pachmount.mounts.restoring import bring_back
from pachmount.mounts.sessions import Sessions
from pachmount.mounts.states import Event, State
from pachmount.mounts.store import MountStore
from pachmount.mounts.table import NOT_MOUNTED, MountTable
from pachmount.mounts.wishes import Wish, refuse_difference, refuse_to_follow
from pachmount.mounts.writing import Writing, require_clean
from pachmount.names import check_mount_name
from pachmount.overlay.difference import Difference
from pachmount.overlay.kept import Kept, kept_in
from pachmount.vfs.filters import PathFilter

log = logging.getLogger(__name__)

FRESH_HEAD_SECONDS = 0.25
HEAD_PATIENCE = 1.0
SHUTDOWN_COMMITS = 4
"""How many mounts are committed at a time when the daemon stops."""
LAST_COMMIT_SECONDS = 3.0
"""How long a commit that is given up may take to notice."""
AtUnmount = Literal["commit", "discard", "keep"]
"""What becomes of staged changes when their mount ends."""
Mode = Literal["ro", "rw"]
LISTING_PATIENCE = 10.0
"""Seconds for which a commit is listed before it takes the place of another."""


class MountManager:
    """All mounts of one daemon. Every public method may be called from any thread."""

    def __init__(
        self,
        cluster: Cluster,
        mounter: Mounter,
        store: MountStore,
        mount_dir: Path,
        call_timeout: float,
        writing: Writing,
    ) -> None:
        self.writing = writing
        self.mount_dir = places.real_place(mount_dir)
        self._cluster = cluster
        self._mounter = mounter
        self._table = MountTable(store)
        self.call_timeout = call_timeout
        self._follower = Follower(cluster, self.mounts, self._show)
        self._heads = HeadWatch(self._follower.notice)
        self._sessions = Sessions(mounter, writing, self.mount_dir)
        lists = writing.places.directory.parent / "datums"
        self.when_unmounted: Callable[[], None] = lambda: None
        mounter.on_session_end = self._notice_the_end
        self.datums = DatumMode(self._table, self._sessions, mounter, self.mount_dir, lists)

    # --- looking

    def mounts(self) -> list[Mount]:
        """All mounts, by name."""
        return self._table.all()

    def get(self, name: str) -> Mount:
        """One mount by name or mount point; NotFoundError."""
        return self._table.get(name)

    @property
    def lingering(self) -> int:
        """Replaced or unmounted sessions whose files are still open somewhere."""
        return self._sessions.lingering

    @property
    def follow_streams(self) -> int:
        """Streams on which the cluster tells of new commits."""
        return self._follower.streams

    def look_at_heads(
        self,
        max_age: float = FRESH_HEAD_SECONDS,
        *,
        names: Collection[str] | None = None,
        unmount_deleted: bool = False,
    ) -> None:
        """Learn where the mounts (all, or those of `names`) stand on their branches.

        With `unmount_deleted` those whose repo the cluster clearly says is gone are unmounted, as the original does
        when it lists mounts; nothing else ever unmounts by itself, and never a mount that follows its branch.
        """
        mounts = [m for m in self.mounts() if m.state is State.MOUNTED and (names is None or m.spec.name in names)]
        if not mounts:
            return
        for mount in self._heads.refresh(self._cluster.client, mounts, max_age, HEAD_PATIENCE):
            is_theirs = not mount.spec.follow and mount.spec.mode == "ro" and mount.spec.datum is None
            if unmount_deleted and is_theirs:
                log.warning("repo %s/%s was deleted", mount.spec.source.project, mount.spec.source.repo)
                with suppress(NotFoundError):  # somebody else did it
                    self._unmount(mount, "keep")

    def refuse_in_datum_mode(self, what: str) -> None:
        """UsageError if datums are shown in the place of the mounts."""
        if self.datums.is_on:
            raise UsageError(what, "datums are shown in their place", "pachmount datum unmount")

    # --- making

    def resolve(self, wish: Wish) -> Resolved:
        """Check a wish against the cluster without changing anything."""
        if wish.mode == "rw":
            resolved = resolve_writable(self._cluster.client, wish.source, self.call_timeout)
        else:
            resolved = resolve(self._cluster.client, wish.source, self.call_timeout)
        wish.check(resolved)
        return resolved

    def mount(self, wish: Wish, resolved: Resolved | None = None) -> Mount:
        """Make a mount. The same wish again is fine and changes nothing; NameTakenError for another under that name."""
        check_mount_name(wish.name)
        self.refuse_in_datum_mode("can't mount repos while in mounted datum mode")
        if wish.mountpoint is not None:
            wish = replace(wish, mountpoint=places.real_place(wish.mountpoint))
        resolved = resolved or self.resolve(wish)
        path_filter = PathFilter(wish.paths)
        spec = partial(self._new_spec, wish, resolved, path_filter)
        mount, is_new = self._table.reserve(wish.name, spec)
        while not is_new:
            try:
                with self._table.operation(mount):
                    refuse_difference(mount.spec, wish, resolved, path_filter)
                    if _was_taken_away(mount):
                        mount.on(Event.FAIL, CannotMountError("it was unmounted"))
                    if mount.state is State.ERROR:
                        self._sessions.restart(mount)
                if wish.follow and not mount.spec.follow:
                    self.follow(wish.name)
                return mount
            except NotFoundError:
                if self._table.has(mount):
                    raise
            mount, is_new = self._table.reserve(wish.name, spec)  # the other ended while it was waited for
        try:
            self._sessions.start(mount)
            if mount.spec.mode == "rw" and mount.spec.source.commit != resolved.source.commit:
                self.writing.catch_up(mount)
        except BaseException:
            self._table.drop(mount)
            raise
        finally:
            mount.operation.release()
        self._table.save()
        self._follower.listen()
        log.info("mounted %s at %s", mount.spec.source, mount.spec.mountpoint)
        return mount

    def _new_spec(self, wish: Wish, resolved: Resolved, path_filter: PathFilter) -> MountSpec:
        return MountSpec(
            name=wish.name,
            source=resolved.source,
            mountpoint=wish.mountpoint or self.mount_dir / wish.name,
            paths=path_filter.paths,
            mode=wish.mode,
            time=resolved.time,
            pinned=resolved.pinned,
            complete=resolved.complete,
            own_directory=wish.mountpoint is None,
            follow=wish.follow,
        )

    def refresh(self, name: str, commit: str = "") -> Mount:
        """Move a mount to the newest commit of its branch, or to `commit` (an id, a branch, an ancestry).

        A mount that is moved to a commit does not follow its branch any more.
        """
        self.refuse_in_datum_mode("can't move mounts while in mounted datum mode")
        mount = self.get(name)
        source = mount.spec.source
        if not commit:
            self._require_branch(mount, f"pachmount refresh {name} --to COMMIT")
        if mount.spec.mode == "rw":
            if commit:
                why = "it has staged changes over one commit, which only move to the newest"
                raise UsageError(f"mount '{name}' is read-write", why, f"pachmount refresh {name}")
            with self._table.operation(mount):
                self.writing.refresh(mount)
            self._table.save()
            return mount
        resolved = resolve(self._cluster.client, source.at(commit), self.call_timeout)
        self._show(mount, resolved, follow=False if commit else None)
        return mount

    def follow(self, name: str, *, on: bool = True) -> Mount:
        """Let a mount move along with its branch, beginning now; or leave it where it is."""
        self.refuse_in_datum_mode("can't move mounts while in mounted datum mode")
        mount = self.get(name)
        if on:
            self._require_branch(mount, "mount a branch: pachmount mount REPO@BRANCH --follow")
            resolve(self._cluster.client, mount.spec.source.at(""), self.call_timeout)
        with self._table.operation(mount):
            if on and mount.spec.mode == "rw":
                refuse_to_follow()
            mount.spec, mount.note = replace(mount.spec, follow=on), ""
        self._table.save()
        self._follower.listen()
        if on:
            self._follower.step(mount)
        return mount

    def _require_branch(self, mount: Mount, hint: str) -> None:
        if not mount.spec.source.branch:
            why = "it was mounted by its commit alone"
            raise NotFoundError(f"mount '{mount.spec.name}' has no branch to follow", why, hint)

    def _show(
        self, mount: Mount, resolved: Resolved, expected: MountSpec | None = None, *, follow: bool | None = None
    ) -> None:
        """Put another commit in the place of a mount's, its listing first: LISTING_PATIENCE at most is spent on that.

        Nothing happens if the mount is not what is `expected` any more. A listing that fails leaves all as it was.
        """
        before, view = mount.spec, None
        if (before.source.commit, before.complete) != (resolved.source.commit, resolved.complete):
            view = self._mounter.view(_at(before, resolved), mount.statistics)
        try:
            if view is not None:
                view.tree.wait_complete(LISTING_PATIENCE)
                if view.tree.error is not None:
                    raise view.tree.error
            with self._table.operation(mount):
                if expected not in (None, mount.spec):
                    return
                if mount.spec.mode == "rw":
                    raise BusyError(f"cannot move mount '{before.name}'", "it became read-write meanwhile", "try again")
                spec = _at(mount.spec, resolved)
                spec = spec if follow is None else replace(spec, follow=follow)
                if view is not None:
                    view = self._sessions.replace(mount, spec, view)
                mount.spec, mount.note = spec, ""
                if spec.source.commit == resolved.head and spec.complete:
                    mount.position = BranchPosition(resolved.head)
        finally:
            if view is not None and view is not mount.view:
                view.close()
        if spec != before:
            self._table.save()
            self._follower.listen()
            log.info("mount %s shows %s", spec.name, spec.source)

    # --- writing

    def commit(self, name: str, wish: CommitWish) -> Committed | None:
        """Commit what is staged in a mount; None if there is nothing. After a failure all stays staged."""
        mount = self.get(name)
        if mount.spec.mode != "rw":
            return None
        with self._table.operation(mount):
            self._revive(mount)
            return self._commit(mount, wish)

    def difference(self, name: str, paths: Collection[str] = ()) -> Difference:
        """What a commit of a read-write mount would change, at some paths (with a leading slash) and below."""
        return self.writing.difference(self.get(name), [os.fsencode(path) for path in paths])

    def patch(self, name: str, paths: Collection[str]) -> tuple[Difference, str]:
        """The same, and as a patch."""
        return self.writing.patch(self.get(name), [os.fsencode(path) for path in paths])

    def discard(self, name: str, paths: Collection[str]) -> None:
        """Give up staged changes at some paths (with a leading slash) and below; none = all."""
        mount = self.get(name)
        with self._table.operation(mount):
            if paths:
                self._revive(mount)
                self.writing.discard(mount, [os.fsencode(path) for path in paths])
            else:
                self.writing.discard_all(mount)

    def remount(self, name: str, mode: Mode) -> Mount:
        """Let a mount be read-only or read-write from now on, at the same place and commit.

        What is staged in a mount that becomes read-only is kept, and shows again when it becomes read-write. Files that
        are open keep what they are. If it fails the mount is as before.
        """
        self.refuse_in_datum_mode("can't change mounts while in mounted datum mode")
        mount = self.get(name)
        with self._table.operation(mount):
            before = mount.spec
            if before.mode == mode and mount.state is State.MOUNTED:
                return mount
            if mode == "rw" and before.mode != "rw":
                if before.follow:
                    hint = f"pachmount follow {name} --off"
                    raise UsageError("a read-write mount cannot follow its branch", f"'{name}' does", hint)
                resolve_writable(self._cluster.client, before.source, self.call_timeout)
            if mount.overlay is not None:
                require_clean(mount)
            mount.on(Event.MOVE)
            try:
                self._sessions.detach(mount)
                mount.spec = replace(before, mode=mode)
                self._sessions.start(mount)
            except PachmountError as error:
                mount.spec = before
                self._sessions.start_again(mount, error)
                raise
        self._table.save()
        return mount

    def settle_commits(self) -> None:
        """Find out what became of commits that were cut off. Failures are logged: it is tried again."""
        for mount in self.mounts():
            if mount.overlay is None or not mount.operation.acquire(blocking=False):
                continue
            try:
                before = mount.spec
                if self.writing.is_unsettled(mount):
                    self.writing.settle(mount)
                if mount.spec != before:
                    self._table.save()
            except PachmountError as error:
                log.info("a commit of %s is still unsettled: %s", mount.spec.name, error)
            finally:
                mount.operation.release()

    def commit_all(self, timeout: float) -> None:
        """Commit everything that is staged, as far as that is done within `timeout` seconds; the rest stays staged."""
        waiting = [mount for mount in self.mounts() if mount.overlay is not None and mount.overlay.is_changed]
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
        shown = {mount.spec.name for mount in self.mounts() if mount.overlay is not None}
        return [each for each in kept_in(self.writing.places.directory) if each.name not in shown]

    def _commit(self, mount: Mount, wish: CommitWish) -> Committed | None:
        mount.on(Event.COMMIT)
        before = mount.spec
        mount.progress = Progress()
        try:
            made = self.writing.commit(mount, wish)
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

    def _revive(self, mount: Mount) -> None:
        """Bring a read-write mount back that is in state error: what is staged in it can be reached again."""
        if mount.spec.mode == "rw" and mount.state is State.ERROR and mount.overlay is None:
            self._sessions.restart(mount)

    # --- removing

    def unmount(self, name: str, staged: AtUnmount = "commit", wish: CommitWish | None = None) -> Committed | None:
        """Remove a mount; files open in it can still be read. NotFoundError if there is none.

        What is staged in it is committed before, or discarded, or kept for the next mount of that name. If the commit
        fails the mount stays.
        """
        self.refuse_in_datum_mode("can't unmount repos while in mounted datum mode")
        try:
            mount = self.get(name)
        except NotFoundError as error:
            error.what, error.why = NOT_MOUNTED, error.what
            raise
        return self._unmount(mount, staged, wish)

    def unmount_all(self, staged: AtUnmount = "commit") -> None:
        """Remove all mounts, and leave datum mode; the first failure is raised after all were tried."""
        self.datums.leave(restore=False)
        self._for_each(partial(self._unmount, staged=staged))

    def shut_down(self) -> None:
        """Take all mounts away but remember them for the next daemon."""
        self._heads.close()
        self._follower.close()
        self.datums.close()
        try:
            self._for_each(self._stop)
        except PachmountError as error:
            log.warning("a mount could not be taken away: %s", error)
        self._sessions.close()

    def restore(self) -> None:
        """Mount again what a former daemon had mounted; what fails is listed in state error and can be tried again."""
        specs = self._table.load()
        places.detach_dead_mounts(self.mount_dir, [spec.mountpoint for spec in specs])
        self._mounter.clean_staging()
        self.writing.places.tidy_all([spec.name for spec in specs])
        bring_back(self._table, self._sessions, specs)
        self._follower.listen()

    # --- inside

    def _for_each(self, action: Callable[[Mount], object]) -> None:
        first: PachmountError | None = None
        for mount in self.mounts():
            try:
                action(mount)
            except PachmountError as error:
                if self._table.has(mount):  # else somebody else did it
                    log.warning("%s: %s", mount.spec.name, error)
                    first = first or error
        if first is not None:
            raise first

    def _unmount(self, mount: Mount, staged: AtUnmount = "commit", wish: CommitWish | None = None) -> Committed | None:
        made = None
        with self._table.operation(mount):
            if mount.overlay is not None and staged != "keep":
                require_clean(mount)
            if mount.spec.mode == "rw" and staged == "commit" and self.writing.has_changes_of(mount):
                self._revive(mount)
                made = self._commit(mount, wish or CommitWish())
                self.writing.drop_attributes(mount)
            elif mount.spec.mode == "rw" and staged == "discard":
                self.writing.discard_all(mount)
            self._sessions.take_away(mount)
            self._table.drop(mount)
        self._table.save()
        self._follower.listen()
        log.info("unmounted %s from %s", mount.spec.source, mount.spec.mountpoint)
        self.when_unmounted()
        return made

    def _notice_the_end(self) -> None:
        """A session ended: let go of mounts that somebody took away with umount(8). What is staged in them is kept."""
        for mount in filter(_was_taken_away, self.mounts()):
            try:
                with self._table.operation(mount):
                    if not _was_taken_away(mount):
                        continue
                    self._sessions.take_away(mount)
                    self._table.drop(mount)
                self._table.save()
                self._follower.listen()
            except PachmountError as error:
                log.warning("%s was unmounted, but not by us: %s", mount.spec.mountpoint, error)
            else:
                log.info("%s was unmounted, but not by us", mount.spec.mountpoint)
                self.when_unmounted()

    def _stop(self, mount: Mount) -> None:
        with self._table.operation(mount):
            self._sessions.take_away(mount)


def _was_taken_away(mount: Mount) -> bool:
    """Whether nothing of ours is mounted any more where a mount should be."""
    shown = mount.state is State.MOUNTED and mount.session is not None
    return shown and all(layer.fs_type != kernel.FS_TYPE for layer in kernel.layers(mount.spec.mountpoint))


def _at(spec: MountSpec, resolved: Resolved) -> MountSpec:
    return spec.at(resolved.source.commit, resolved.time, complete=resolved.complete, pinned=resolved.pinned)
