"""The manager of all mounts: make, move, remove, remember, restore.

Locks: those of `MountTable`. Calls to the cluster and to the kernel happen while at most a mount's operation is held.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from pachmount.errors import CannotMountError, NotFoundError, PachmountError, UsageError
from pachmount.fuse import kernel
from pachmount.mounts import places
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.committing import Committed, CommitWish
from pachmount.mounts.datum_mode import DatumMode
from pachmount.mounts.ending import carry_on, end_all
from pachmount.mounts.gone import find_loss, identity, is_elsewhere
from pachmount.mounts.heads import HeadWatch
from pachmount.mounts.mount import Mount, MountSpec, RepoIdentity
from pachmount.mounts.mounter import Mounter
from pachmount.mounts.moving import Moving
from pachmount.mounts.resolve import Resolved, resolve, resolve_writable
from pachmount.mounts.restoring import bring_back
from pachmount.mounts.sessions import Sessions
from pachmount.mounts.staged_changes import StagedChanges
from pachmount.mounts.states import Event, State
from pachmount.mounts.store import MountStore
from pachmount.mounts.table import NOT_MOUNTED, MountTable
from pachmount.mounts.wishes import Wish, refuse_difference
from pachmount.mounts.writing import Writing, require_clean
from pachmount.names import check_mount_name
from pachmount.vfs.filters import PathFilter

log = logging.getLogger(__name__)

FRESH_HEAD_SECONDS = 0.25
HEAD_PATIENCE = 1.0
AtUnmount = Literal["commit", "discard", "keep"]
"""What becomes of staged changes when their mount ends."""
Mode = Literal["ro", "rw"]


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
        self._sessions = Sessions(mounter, writing, self.mount_dir)
        self._moving = Moving(cluster, self._table, mounter, self._sessions, writing, call_timeout)
        self._find_loss = partial(find_loss, cluster)
        self._heads = HeadWatch(self._moving.follower.notice, self._find_loss, self._show_again)
        self.staged = StagedChanges(self._table, self._sessions, writing)
        lists = writing.places.directory.parent / "datums"
        self.when_unmounted: Callable[[], None] = lambda: None
        mounter.on_session_end = self._notice_the_end
        self.datums = DatumMode(self._table, self._sessions, mounter, self.mount_dir, lists)

    # --- looking

    @property
    def unsaved(self) -> str:
        """Why the next daemon would not know what is mounted; "" while it does."""
        return self._table.unsaved

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
        return self._moving.follower.streams

    def look_at_heads(
        self,
        max_age: float = FRESH_HEAD_SECONDS,
        *,
        names: Collection[str] | None = None,
        unmount_deleted: bool = False,
    ) -> None:
        """Learn where the mounts (all, or those of `names`) stand on their branches, and whether their commits exist.

        With `unmount_deleted` those whose repo the cluster clearly says is gone are unmounted, as the original does
        when it lists mounts; nothing else ever unmounts by itself, and never a mount that follows its branch, one at a
        directory of the user's (it would be empty), or one from another cluster.
        """
        mounts = [m for m in self.mounts() if _is_looked_at(m) and (names is None or m.spec.name in names)]
        if not mounts:
            return
        for mount in self._heads.refresh(self._cluster.client, mounts, max_age, HEAD_PATIENCE):
            spec = mount.spec
            is_theirs = not spec.follow and spec.mode == "ro" and spec.datum is None and spec.own_directory
            if unmount_deleted and is_theirs and self._is_of_this_cluster(spec):
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
        spec = partial(self._new_spec, wish, resolved, path_filter, identity(self._cluster, resolved.created))
        mount, is_new = self._table.reserve(wish.name, spec)
        while not is_new:
            try:
                with self._table.operation(mount):
                    refuse_difference(mount.spec, wish, resolved, path_filter)
                    if _was_taken_away(mount):
                        mount.on(Event.FAIL, CannotMountError("it was unmounted"))
                    if mount.state is State.ERROR and mount.gone is not None:
                        mount.spec = replace(spec(), follow=mount.spec.follow)
                    if mount.state is State.ERROR:
                        self._sessions.restart(mount)
                        mount.gone = None
                if wish.follow and not mount.spec.follow:
                    self.follow(wish.name)
                return mount
            except NotFoundError:
                if self._table.has(mount):
                    raise
            mount, is_new = self._table.reserve(wish.name, spec)  # the other ended while it was waited for
        try:
            mount.note = resolved.note
            self._sessions.start(mount)
            if mount.spec.mode == "rw" and mount.spec.source.commit != resolved.source.commit:
                self.writing.catch_up(mount)
        except BaseException:
            self._table.drop(mount)
            raise
        finally:
            mount.operation.release()
        self._table.save()
        self._moving.follower.listen()
        log.info("mounted %s at %s", mount.spec.source, mount.spec.mountpoint)
        return mount

    def _new_spec(self, wish: Wish, resolved: Resolved, path_filter: PathFilter, repo: RepoIdentity) -> MountSpec:
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
            identity=repo,
        )

    def refresh(self, name: str, commit: str = "") -> Mount:
        """Move a mount to the newest commit of its branch, or to `commit` (an id, a branch, an ancestry).

        A mount that is moved to a commit does not follow its branch any more.
        """
        return self.plan_refresh(name, commit)()

    def plan_refresh(self, name: str, commit: str = "") -> Callable[[], Mount]:
        """Check all that can be; what does `refresh` then. Nothing is changed before that is called."""
        self.refuse_in_datum_mode("can't move mounts while in mounted datum mode")
        return self._moving.refresh(name, commit)

    def follow(self, name: str, *, on: bool = True) -> Mount:
        """Let a mount move along with its branch, beginning now; or leave it where it is."""
        return self.plan_follow(name, on=on)()

    def plan_follow(self, name: str, *, on: bool = True) -> Callable[[], Mount]:
        """Check all that can be; what does `follow` then. Nothing is changed before that is called."""
        self.refuse_in_datum_mode("can't move mounts while in mounted datum mode")
        return self._moving.follow(name, on=on)

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
            self._sessions.change_mode(mount, mode)
        self._table.save()
        return mount

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

    def refuse_new(self) -> None:
        """Begin nothing any more: new mounts and operations are refused with StoppingError."""
        self._table.close()

    def shut_down(self, end: float) -> None:
        """Take all mounts away, until `end` (on the monotonic clock), but remember them for the next daemon."""
        self.refuse_new()
        for step in (self._heads.close, self._moving.follower.close, self.datums.close, self._table.save_if_due):
            carry_on(step)
        places = (self.mount_dir, self._mounter.staging_dir)
        end_all(self._table, self._sessions, self._cluster.cut_off, places, end)
        carry_on(self._sessions.close)

    def restore(self) -> None:
        """Mount again what a former daemon had mounted; what fails is listed in state error and can be tried again."""
        specs = self._table.load()
        places.detach_dead_mounts(self.mount_dir, [spec.mountpoint for spec in specs])
        self._mounter.clean_staging()
        self.writing.places.tidy_all([spec.name for spec in specs])
        bring_back(self._table, self._sessions, specs, self._find_loss)
        self._moving.follower.listen()

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
                self.staged.revive(mount)
                made = self.staged.commit_in_operation(mount, wish or CommitWish())
                self.writing.drop_attributes(mount)
            elif staged == "discard" and (mount.spec.mode == "rw" or self.writing.has_changes_of(mount)):
                self.writing.discard_all(mount)
            self._sessions.take_away(mount)
            self._table.drop(mount)
        self._table.save()
        self._moving.follower.listen()
        log.info("unmounted %s from %s", mount.spec.source, mount.spec.mountpoint)
        self.when_unmounted()
        return made

    def _notice_the_end(self) -> None:
        """A session ended: let go of mounts that somebody took away with umount(8). What is staged in them is kept."""
        if self._table.is_closed:
            return
        ours = kernel.ours()
        for mount in [mount for mount in self.mounts() if _was_taken_away(mount, ours)]:
            try:
                with self._table.operation(mount):
                    if not _was_taken_away(mount):
                        continue
                    self._sessions.take_away(mount)
                    self._table.drop(mount)
                self._table.save()
                self._moving.follower.listen()
            except PachmountError as error:
                log.warning("%s was unmounted, but not by us: %s", mount.spec.mountpoint, error)
            else:
                log.info("%s was unmounted, but not by us", mount.spec.mountpoint)
                self.when_unmounted()

    def _is_of_this_cluster(self, spec: MountSpec) -> bool:
        try:
            return not is_elsewhere(self._cluster, spec)
        except PachmountError:
            return False

    def _show_again(self, mount: Mount) -> None:
        """The commit of a mount exists again: what was hidden while it was gone is shown."""
        try:
            with self._table.operation(mount):
                if mount.state is State.ERROR and mount.view is not None and mount.overlay is None:
                    self._sessions.restart(mount)
        except PachmountError as error:
            log.warning("mount %s could not be shown again: %s", mount.spec.name, error)


def _is_looked_at(mount: Mount) -> bool:
    """Whether a mount shows a commit, or would if that were not gone."""
    return mount.state is State.MOUNTED or (mount.state is State.ERROR and mount.gone is not None)


def _was_taken_away(mount: Mount, ours: Collection[str] | None = None) -> bool:
    """Whether nothing of ours is mounted any more where a mount should be. `ours`: where there is something of ours."""
    if mount.state is not State.MOUNTED or mount.session is None:
        return False
    return str(mount.spec.mountpoint) not in (kernel.ours() if ours is None else ours)
