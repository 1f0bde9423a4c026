"""The manager of all mounts: make, move, remove, remember, restore.

Locks: `_lock` guards the table of mounts and is held for moments only; `Mount.operation` is held while one mount
changes, never together with another mount's. Calls to the cluster and to the kernel happen without `_lock`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pachmount.errors import BusyError, CannotMountError, NotFoundError, PachmountError, UsageError
from pachmount.fuse import kernel
from pachmount.fuse.session import Session
from pachmount.mounts import places
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.committing import CommitWish
from pachmount.mounts.follow import Follower
from pachmount.mounts.heads import HeadWatch
from pachmount.mounts.mount import BranchPosition, Mount, MountSpec
from pachmount.mounts.mounter import Mounter
from pachmount.mounts.resolve import Resolved, resolve, resolve_writable
from pachmount.mounts.states import Event, State
from pachmount.mounts.store import MountStore
from pachmount.mounts.wishes import Wish, refuse_difference
from pachmount.mounts.writing import Writing, require_clean
from pachmount.names import check_mount_name
from pachmount.overlay.difference import Difference
from pachmount.pfs.model import CommitInfo
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.view import CommitView

log = logging.getLogger(__name__)

OPERATION_SECONDS = 60.0
"""How long an operation waits for another one on the same mount."""
NOT_MOUNTED = "can't unmount when we're already unmounted"
FRESH_HEAD_SECONDS = 0.25
HEAD_PATIENCE = 1.0
DETACH_SECONDS = 2.0
"""How long an unmounted session may take to end before it counts as one with open files."""
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
        self._store = store
        self._call_timeout = call_timeout
        self._follower = Follower(cluster, self.mounts, self._show)
        self._heads = HeadWatch(self._follower.notice)
        self._lock = threading.Lock()
        self._save_lock = threading.Lock()
        self._mounts: dict[str, Mount] = {}
        self._lingering: list[Session] = []

    # --- looking

    def mounts(self) -> list[Mount]:
        """All mounts, by name."""
        with self._lock:
            return [self._mounts[name] for name in sorted(self._mounts)]

    def get(self, name: str) -> Mount:
        """One mount by name or mount point; NotFoundError."""
        with self._lock:
            found = self._mounts.get(name)
            if found is None:
                found = next((m for m in self._mounts.values() if str(m.spec.mountpoint) == name), None)
        if found is None:
            raise NotFoundError(NOT_MOUNTED, f"nothing is mounted as '{name}'", "pachmount status")
        return found

    @property
    def lingering(self) -> int:
        """Replaced or unmounted sessions whose files are still open somewhere."""
        with self._lock:
            self._lingering = [session for session in self._lingering if session.alive]
            return len(self._lingering)

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
            if unmount_deleted and not mount.spec.follow and mount.spec.mode == "ro":
                log.warning("repo %s/%s was deleted", mount.spec.source.project, mount.spec.source.repo)
                self._unmount(mount, "keep")

    # --- making

    def resolve(self, wish: Wish) -> Resolved:
        """Check a wish against the cluster without changing anything."""
        if wish.mode == "rw":
            resolved = resolve_writable(self._cluster.client, wish.source, self._call_timeout)
        else:
            resolved = resolve(self._cluster.client, wish.source, self._call_timeout)
        wish.check(resolved)
        return resolved

    def mount(self, wish: Wish, resolved: Resolved | None = None) -> Mount:
        """Make a mount. The same wish again is fine and changes nothing; NameTakenError for another under that name."""
        check_mount_name(wish.name)
        if wish.mountpoint is not None:
            wish = replace(wish, mountpoint=places.real_place(wish.mountpoint))
        resolved = resolved or self.resolve(wish)
        path_filter = PathFilter(wish.paths)
        with self._lock:
            existing = self._mounts.get(wish.name)
            if existing is None:
                target = wish.mountpoint or self.mount_dir / wish.name
                spec = MountSpec(
                    name=wish.name,
                    source=resolved.source,
                    mountpoint=target,
                    paths=path_filter.paths,
                    mode=wish.mode,
                    time=resolved.time,
                    pinned=resolved.pinned,
                    complete=resolved.complete,
                    own_directory=wish.mountpoint is None,
                    follow=wish.follow,
                )
                mount = self._mounts[wish.name] = Mount(spec)
                mount.on(Event.MOUNT)
        if existing is not None:
            with self._operation(existing):
                refuse_difference(existing.spec, wish, resolved, path_filter)
                if existing.state is State.ERROR:
                    self._remount(existing)
            if wish.follow and not existing.spec.follow:
                self.follow(wish.name)
            return existing
        with self._operation(mount):
            try:
                self._start(mount)
            except BaseException:
                with self._lock:
                    self._mounts.pop(wish.name, None)
                raise
        self._save()
        self._follower.listen()
        log.info("mounted %s at %s", mount.spec.source, mount.spec.mountpoint)
        return mount

    def refresh(self, name: str, commit: str = "") -> Mount:
        """Move a mount to the newest commit of its branch, or to `commit` (an id, a branch, an ancestry).

        A mount that is moved to a commit does not follow its branch any more.
        """
        mount = self.get(name)
        source = mount.spec.source
        if not commit:
            self._require_branch(mount, f"pachmount refresh {name} --to COMMIT")
        if mount.spec.mode == "rw":
            if commit:
                why = "it has staged changes over one commit, which only move to the newest"
                raise UsageError(f"mount '{name}' is read-write", why, f"pachmount refresh {name}")
            with self._operation(mount):
                self.writing.refresh(mount)
            self._save()
            return mount
        resolved = resolve(self._cluster.client, source.at(commit), self._call_timeout)
        self._show(mount, resolved, follow=False if commit else None)
        return mount

    def follow(self, name: str, *, on: bool = True) -> Mount:
        """Let a mount move along with its branch, beginning now; or leave it where it is."""
        mount = self.get(name)
        if on:
            self._require_branch(mount, "mount a branch: pachmount mount REPO@BRANCH --follow")
            resolve(self._cluster.client, mount.spec.source.at(""), self._call_timeout)
        with self._operation(mount):
            mount.spec, mount.note = replace(mount.spec, follow=on), ""
        self._save()
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
            with self._operation(mount):
                if expected not in (None, mount.spec):
                    return
                spec = _at(mount.spec, resolved)
                spec = spec if follow is None else replace(spec, follow=follow)
                if view is not None:
                    view = self._move(mount, spec, view)
                mount.spec, mount.note = spec, ""
                if spec.source.commit == resolved.head and spec.complete:
                    mount.position = BranchPosition(resolved.head)
        finally:
            if view is not None and view is not mount.view:
                view.close()
        if spec != before:
            self._save()
            self._follower.listen()
            log.info("mount %s shows %s", spec.name, spec.source)

    # --- writing

    def commit(self, name: str, wish: CommitWish) -> CommitInfo | None:
        """Commit what is staged in a mount; None if there is nothing. After a failure all stays staged."""
        mount = self.get(name)
        if mount.spec.mode != "rw":
            return None
        with self._operation(mount):
            return self._commit(mount, wish)

    def difference(self, name: str) -> Difference:
        """What a commit of a read-write mount would change."""
        return self.writing.difference(self.get(name))

    def discard(self, name: str, paths: Collection[str]) -> None:
        """Give up staged changes at some paths (with a leading slash) and below; none = all."""
        mount = self.get(name)
        with self._operation(mount):
            self.writing.discard(mount, [os.fsencode(path) for path in paths])

    def remount(self, name: str, mode: Mode) -> Mount:
        """Let a mount be read-only or read-write from now on, at the same place and commit.

        What is staged in a mount that becomes read-only is kept, and shows again when it becomes read-write. Files that
        are open keep what they are. If it fails the mount is as before.
        """
        mount = self.get(name)
        before = mount.spec
        if before.mode == mode and mount.state is State.MOUNTED:
            return mount
        if mode == "rw":
            if before.follow:
                hint = f"pachmount follow {name} --off"
                raise UsageError("a read-write mount cannot follow its branch", f"'{name}' does", hint)
            resolve_writable(self._cluster.client, before.source, self._call_timeout)
        with self._operation(mount):
            if mount.overlay is not None:
                require_clean(mount)
            mount.on(Event.MOVE)
            try:
                self._detach(mount)
                mount.spec = replace(before, mode=mode)
                self._start(mount)
            except PachmountError as error:
                mount.spec = before
                self._start_again(mount, error)
                raise
        self._save()
        return mount

    def _start_again(self, mount: Mount, error: PachmountError) -> None:
        """Bring back a mount whose change failed; it is in state error if that fails, too."""
        try:
            self._start(mount)
        except PachmountError:
            log.exception("mount %s could not be brought back", mount.spec.name)
            mount.on(Event.FAIL, error)

    def kept_changes(self) -> list[str]:
        """Names under which changes are staged that no read-write mount shows."""
        mounted = {mount.spec.name for mount in self.mounts() if mount.spec.mode == "rw"}
        return [name for name in self.writing.names() if name not in mounted and self.writing.has_changes(name)]

    def _commit(self, mount: Mount, wish: CommitWish) -> CommitInfo | None:
        mount.on(Event.COMMIT)
        before = mount.spec
        try:
            info = self.writing.commit(mount, wish)
            mount.note = ""
        except PachmountError as error:
            mount.note = f"not committed: {error}"
            raise
        finally:
            mount.progress = None
            mount.on(Event.DONE)
            if mount.spec != before:
                self._save()
        if info is not None:
            log.info("committed %s as %s", mount.spec.name, info.commit)
        return info

    # --- removing

    def unmount(self, name: str, staged: AtUnmount = "commit", wish: CommitWish | None = None) -> CommitInfo | None:
        """Remove a mount; files open in it can still be read. NotFoundError if there is none.

        What is staged in it is committed before, or discarded, or kept for the next mount of that name. If the commit
        fails the mount stays.
        """
        return self._unmount(self.get(name), staged, wish)

    def unmount_all(self) -> None:
        """Remove all mounts; the first failure is raised after all were tried."""
        self._for_each(self._unmount)

    def shut_down(self) -> None:
        """Take all mounts away but remember them for the next daemon."""
        self._heads.close()
        self._follower.close()
        try:
            self._for_each(self._stop)
        except PachmountError as error:
            log.warning("a mount could not be taken away: %s", error)

    def restore(self) -> None:
        """Mount again what a former daemon had mounted; what fails is listed in state error and can be tried again."""
        specs = self._store.load()
        places.detach_dead_mounts(self.mount_dir, [spec.mountpoint for spec in specs])
        self._mounter.clean_staging()
        for spec in specs:
            mount = Mount(spec)
            mount.on(Event.MOUNT)
            with self._lock:
                self._mounts[spec.name] = mount
            try:
                self._start(mount)
            except PachmountError as error:
                mount.on(Event.FAIL, error)
                log.warning("could not mount %s again: %s", spec.name, error)
        self._follower.listen()

    # --- inside

    @contextmanager
    def _operation(self, mount: Mount) -> Iterator[None]:
        if not mount.operation.acquire(timeout=OPERATION_SECONDS):
            why = f"another operation on it did not end within {OPERATION_SECONDS:.0f} s"
            raise BusyError(f"mount '{mount.spec.name}' is busy", why)
        try:
            yield
        finally:
            mount.operation.release()

    def _for_each(self, action: Callable[[Mount], object]) -> None:
        first: PachmountError | None = None
        for mount in self.mounts():
            try:
                action(mount)
            except PachmountError as error:
                log.warning("%s: %s", mount.spec.name, error)
                first = first or error
        if first is not None:
            raise first

    def _start(self, mount: Mount) -> None:
        """From mounting to mounted; on failure nothing is left behind."""
        spec = mount.spec
        if spec.own_directory:
            places.prepare_own_directory(self.mount_dir, spec.name)
        else:
            places.check_foreign_directory(spec.mountpoint)
        try:
            if spec.mode == "rw":
                self._start_writable(mount)
            else:
                view = self._mounter.view(spec, mount.statistics)
                mount.session = self._mounter.open(view, spec.mountpoint)
                mount.view = view
        except BaseException:
            if spec.own_directory:
                places.remove_own_directory(spec.mountpoint)
            raise
        mount.mounted_at = time.time()
        mount.on(Event.DONE)

    def _start_writable(self, mount: Mount) -> None:
        with self._lock:
            lingering = [session for session in self._lingering if session.alive]
        place = self.writing.place(mount.spec.name)
        if any(session.overlay is not None and session.overlay.directory == place for session in lingering):
            why = "files of its former mount are still open"
            raise BusyError(f"cannot mount '{mount.spec.name}' for writing", why, "close them")
        mount.spec, store = self.writing.open(mount.spec)
        view = self._mounter.view(mount.spec, mount.statistics)
        try:
            overlay = self.writing.overlay(view, store)
        except BaseException:
            view.close()
            store.close()
            raise
        try:
            mount.session = self._mounter.open(view, mount.spec.mountpoint, overlay)
        except BaseException:
            overlay.close()
            raise
        mount.view, mount.overlay = view, overlay

    def _remount(self, mount: Mount) -> None:
        mount.on(Event.MOUNT)
        try:
            self._detach(mount)
            self._start(mount)
        except PachmountError as error:
            mount.on(Event.FAIL, error)
            raise

    def _move(self, mount: Mount, spec: MountSpec, view: CommitView) -> CommitView:
        """Show a view at the same place; the one shown in the end. Where the kernel can, without a gap."""
        mount.on(Event.MOVE)
        try:
            view, session = self._mounter.replace(view, spec)
        except PachmountError as error:
            mount.on(Event.FAIL, error)
            raise
        self._linger(mount.session)
        mount.spec, mount.view, mount.session = spec, view, session
        mount.mounted_at, mount.position = time.time(), BranchPosition()
        mount.on(Event.DONE)
        return view

    def _unmount(self, mount: Mount, staged: AtUnmount = "commit", wish: CommitWish | None = None) -> CommitInfo | None:
        info = None
        with self._operation(mount):
            if mount.overlay is not None and staged != "keep":
                require_clean(mount)
                if staged == "commit":
                    info = self._commit(mount, wish or CommitWish())
                else:
                    self.writing.discard(mount, ())
            self._take_away(mount)
            with self._lock:
                self._mounts.pop(mount.spec.name, None)
        self._save()
        self._follower.listen()
        log.info("unmounted %s from %s", mount.spec.source, mount.spec.mountpoint)
        return info

    def _stop(self, mount: Mount) -> None:
        with self._operation(mount):
            self._take_away(mount)

    def _take_away(self, mount: Mount) -> None:
        mount.on(Event.UNMOUNT)
        try:
            self._detach(mount)
        except PachmountError as error:
            mount.on(Event.FAIL, error)
            raise
        if mount.spec.own_directory:
            places.remove_own_directory(mount.spec.mountpoint)
        mount.on(Event.DONE)

    def _detach(self, mount: Mount) -> None:
        kernel.detach_all(mount.spec.mountpoint)
        if mount.overlay is not None and mount.session is not None:
            mount.session.join(DETACH_SECONDS)
        self._linger(mount.session)
        mount.session = mount.overlay = None

    def _linger(self, session: Session | None) -> None:
        if session is not None:
            with self._lock:
                self._lingering = [other for other in self._lingering if other.alive] + [session]

    def _save(self) -> None:
        with self._save_lock:
            with self._lock:
                specs = [self._mounts[name].spec for name in sorted(self._mounts)]
            try:
                self._store.save(specs)
            except OSError as error:
                raise CannotMountError("cannot remember the mounts", error.strerror or str(error)) from error


def _at(spec: MountSpec, resolved: Resolved) -> MountSpec:
    return spec.at(resolved.source.commit, resolved.time, complete=resolved.complete, pinned=resolved.pinned)
