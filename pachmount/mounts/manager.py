"""The manager of all mounts: make, move, remove, remember, restore.

Locks: `_lock` guards the table of mounts and is held for moments only; `Mount.operation` is held while one mount
changes, never together with another mount's. Calls to the cluster and to the kernel happen without `_lock`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pachmount.errors import BusyError, CannotMountError, NameTakenError, NotFoundError, PachmountError
from pachmount.fuse import kernel
from pachmount.fuse.session import Session
from pachmount.mounts import places
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.heads import HeadWatch
from pachmount.mounts.mount import BranchPosition, Mount, MountSpec
from pachmount.mounts.mounter import Mounter
from pachmount.mounts.resolve import Resolved, resolve
from pachmount.mounts.states import Event, State
from pachmount.mounts.store import MountStore
from pachmount.names import DEFAULT_BRANCH, Source, check_mount_name
from pachmount.vfs.filters import PathFilter

log = logging.getLogger(__name__)

OPERATION_SECONDS = 60.0
"""How long an operation waits for another one on the same mount."""
NOT_MOUNTED = "can't unmount when we're already unmounted"
FRESH_HEAD_SECONDS = 0.25
HEAD_PATIENCE = 1.0


@dataclass(frozen=True)
class Wish:
    """A mount as asked for: `source.commit` "" = the newest; `mountpoint` None = below the mount directory."""

    name: str
    source: Source
    paths: tuple[str, ...] = ()
    mode: str = "ro"
    mountpoint: Path | None = None


class MountManager:
    """All mounts of one daemon. Every public method may be called from any thread."""

    def __init__(
        self,
        cluster: Cluster,
        mounter: Mounter,
        store: MountStore,
        mount_dir: Path,
        call_timeout: float,
    ) -> None:
        self.mount_dir = places.real_place(mount_dir)
        self._cluster = cluster
        self._mounter = mounter
        self._store = store
        self._call_timeout = call_timeout
        self._heads = HeadWatch()
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

    def look_at_heads(self, max_age: float = FRESH_HEAD_SECONDS, *, unmount_deleted: bool = False) -> None:
        """Learn where the mounts stand on their branches.

        With `unmount_deleted` those whose repo the cluster clearly says is gone are unmounted, as the original does
        when it lists mounts; nothing else ever unmounts by itself.
        """
        mounts = [mount for mount in self.mounts() if mount.state is State.MOUNTED]
        if not mounts:
            return
        for mount in self._heads.refresh(self._cluster.client, mounts, max_age, HEAD_PATIENCE):
            if unmount_deleted:
                log.warning("repo %s/%s was deleted", mount.spec.source.project, mount.spec.source.repo)
                self._unmount(mount)

    # --- making

    def resolve(self, wish: Wish) -> Resolved:
        """Check a wish against the cluster without changing anything."""
        return resolve(self._cluster.client, wish.source, self._call_timeout)

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
                )
                mount = self._mounts[wish.name] = Mount(spec)
                mount.on(Event.MOUNT)
        if existing is not None:
            with self._operation(existing):
                _refuse_difference(existing.spec, wish, resolved, path_filter)
                if existing.state is State.ERROR:
                    self._remount(existing)
            return existing
        with self._operation(mount):
            try:
                self._start(mount)
            except BaseException:
                with self._lock:
                    self._mounts.pop(wish.name, None)
                raise
        self._save()
        log.info("mounted %s at %s", mount.spec.source, mount.spec.mountpoint)
        return mount

    def refresh(self, name: str, commit: str = "") -> Mount:
        """Move a mount to the newest commit of its branch, or to `commit` (an id, a branch, an ancestry)."""
        mount = self.get(name)
        source = mount.spec.source
        if not commit and not source.branch:
            why = "it was mounted by its commit alone"
            raise NotFoundError(f"mount '{name}' has no branch to follow", why, f"pachmount refresh {name} --to COMMIT")
        resolved = resolve(self._cluster.client, source.at(commit), self._call_timeout)
        with self._operation(mount):
            spec = mount.spec
            if resolved.source.commit == spec.source.commit and resolved.complete == spec.complete:
                return mount
            self._move(
                mount,
                spec.at(resolved.source.commit, resolved.time, complete=resolved.complete, pinned=resolved.pinned),
            )
        self._save()
        log.info("mount %s moved to %s", name, mount.spec.source)
        return mount

    # --- removing

    def unmount(self, name: str) -> None:
        """Remove a mount; files open in it can still be read. NotFoundError if there is none."""
        self._unmount(self.get(name))

    def unmount_all(self) -> None:
        """Remove all mounts; the first failure is raised after all were tried."""
        self._for_each(self._unmount)

    def shut_down(self) -> None:
        """Take all mounts away but remember them for the next daemon."""
        self._heads.close()
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

    def _for_each(self, action: Callable[[Mount], None]) -> None:
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
            mount.view, mount.session = self._mounter.open(spec)
        except BaseException:
            if spec.own_directory:
                places.remove_own_directory(spec.mountpoint)
            raise
        mount.mounted_at = time.time()
        mount.on(Event.DONE)

    def _remount(self, mount: Mount) -> None:
        mount.on(Event.MOUNT)
        try:
            self._detach(mount)
            self._start(mount)
        except PachmountError as error:
            mount.on(Event.FAIL, error)
            raise

    def _move(self, mount: Mount, spec: MountSpec) -> None:
        """Show another commit at the same place. Where the kernel can, without a gap; else with one of milliseconds."""
        mount.on(Event.MOVE)
        try:
            view, session = self._mounter.replace(spec)
        except PachmountError as error:
            mount.on(Event.FAIL, error)
            raise
        self._linger(mount.session)
        mount.spec, mount.view, mount.session = spec, view, session
        mount.mounted_at, mount.position = time.time(), BranchPosition()
        mount.on(Event.DONE)

    def _unmount(self, mount: Mount) -> None:
        with self._operation(mount):
            self._take_away(mount)
            with self._lock:
                self._mounts.pop(mount.spec.name, None)
        self._save()
        log.info("unmounted %s from %s", mount.spec.source, mount.spec.mountpoint)

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
        self._linger(mount.session)
        mount.session = None

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


def _refuse_difference(spec: MountSpec, wish: Wish, resolved: Resolved, path_filter: PathFilter) -> None:
    """NameTakenError if `wish` is not what `spec` shows; where the branch's head is does not matter."""
    source = wish.source
    differing = ""
    if (spec.source.project, spec.source.repo) != (source.project, source.repo):
        differing = "repo"
    elif source.commit and spec.source.commit != resolved.source.commit:
        differing = "commit"
    elif not source.commit and spec.source.branch != (source.branch or DEFAULT_BRANCH):
        differing = "branch"
    elif spec.paths != path_filter.paths:
        differing = "path"
    elif spec.mode != wish.mode:
        differing = "mode"
    elif wish.mountpoint is not None and spec.mountpoint != wish.mountpoint:
        differing = "mount point"
    if differing:
        why = f"{spec.source} is mounted under that name (another {differing})"
        hint = f"give this one another name: --name {wish.name}-2"
        if differing == "commit":
            hint += f"; or move that mount: pachmount refresh {wish.name} --to {source.commit}"
        raise NameTakenError(f"mount at '{wish.name}' already in use", why, hint)
