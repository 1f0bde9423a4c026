"""Starting and ending the sessions of mounts: from a spec to files that programs see, and back."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path

from pachmount.errors import BusyError, GoneError, PachmountError
from pachmount.fuse import kernel
from pachmount.fuse.session import Session
from pachmount.mounts import places
from pachmount.mounts.mount import BranchPosition, Mount, MountSpec
from pachmount.mounts.mounter import Mounter
from pachmount.mounts.states import Event
from pachmount.mounts.writing import Writing
from pachmount.overlay.staging import Staging
from pachmount.vfs.view import CommitView

log = logging.getLogger(__name__)

DETACH_SECONDS = 2.0
"""How long an unmounted session may take to end before it counts as one with open files."""


class Sessions:
    """The sessions of all mounts. The caller holds `Mount.operation` of the mount that it passes."""

    def __init__(self, mounter: Mounter, writing: Writing, mount_dir: Path) -> None:
        self._mounter = mounter
        self._writing = writing
        self._mount_dir = mount_dir
        self._lock = threading.Lock()
        self._lingering: list[Session] = []

    @property
    def lingering(self) -> int:
        """Replaced or unmounted sessions whose files are still open somewhere."""
        with self._lock:
            self._lingering = [session for session in self._lingering if session.alive]
            return len(self._lingering)

    def start(self, mount: Mount, gone: GoneError | None = None, store: Staging | None = None) -> None:
        """From mounting to mounted; on failure nothing is left behind. `store` is open already; it is closed then.

        A read-only mount whose commit is `gone` is there, and every look into it fails: an empty directory in its place
        would be believed.
        """
        spec = mount.spec
        try:
            if spec.own_directory:
                places.prepare_own_directory(self._mount_dir, spec.name)
            else:
                places.check_foreign_directory(spec.mountpoint)
        except BaseException:
            if store is not None:
                store.close()
            raise
        try:
            if spec.mode == "rw":
                self._start_writable(mount, store)
            else:
                view = self._mounter.view(spec, mount.statistics, gone=gone)
                mount.session = self._mounter.open(view, spec.mountpoint)
                mount.view = view
        except BaseException:
            if spec.own_directory:
                places.remove_own_directory(spec.mountpoint)
            raise
        mount.mounted_at = time.time()
        mount.on(Event.DONE)

    def restart(self, mount: Mount) -> None:
        """Begin anew, whatever is left of the mount; in state error if that fails."""
        mount.on(Event.MOUNT)
        try:
            self.detach(mount)
            self.start(mount)
        except PachmountError as error:
            mount.on(Event.FAIL, error)
            raise

    def start_again(self, mount: Mount, error: PachmountError) -> None:
        """Bring back a mount whose change failed; it is in state error if that fails, too."""
        try:
            self.start(mount)
        except PachmountError:
            log.exception("mount %s could not be brought back", mount.spec.name)
            mount.on(Event.FAIL, error)

    def change_mode(self, mount: Mount, mode: str) -> None:
        """Show a mount read-only or read-write. Where changes are staged is opened before anything is taken away.

        If it fails the mount is as before.
        """
        before, spec, store = mount.spec, replace(mount.spec, mode=mode), None
        if mode == "rw" and mount.overlay is None:
            spec, store = self._open_store(spec)
        mount.on(Event.MOVE)
        try:
            self.detach(mount)
        except PachmountError as error:
            if store is not None:
                store.close()
            mount.on(Event.FAIL, error)
            raise
        try:
            mount.spec = spec
            self.start(mount, store=store)
        except PachmountError as error:
            mount.spec = before
            self.start_again(mount, error)
            raise

    def replace(self, mount: Mount, spec: MountSpec, view: CommitView) -> CommitView:
        """Show a view at the same place; the one shown in the end. Where the kernel can, without a gap."""
        mount.on(Event.MOVE)
        try:
            view, session = self._mounter.replace(view, spec)
        except PachmountError as error:
            mount.on(Event.FAIL, error)
            raise
        self._linger(mount.session)
        mount.spec, mount.view, mount.session = spec, view, session
        mount.mounted_at, mount.position, mount.gone = time.time(), BranchPosition(), None
        mount.on(Event.DONE)
        return view

    def take_away(self, mount: Mount) -> None:
        """From whatever state to unmounted; files that are open can still be used."""
        mount.on(Event.UNMOUNT)
        try:
            self.detach(mount)
        except PachmountError as error:
            mount.on(Event.FAIL, error)
            raise
        if mount.spec.own_directory:
            places.remove_own_directory(mount.spec.mountpoint)
        try:
            if not self.is_in_use(mount.spec.name):
                self._writing.places.tidy(mount.spec.name)
        except OSError as error:
            log.warning("what is staged as %s is left alone: %s", mount.spec.name, error)
        mount.on(Event.DONE)

    def detach(self, mount: Mount) -> None:
        """Take a mount away from view, without a change of its state."""
        kernel.detach_all(mount.spec.mountpoint)
        if mount.overlay is not None and mount.session is not None:
            mount.session.join(DETACH_SECONDS)
        self._linger(mount.session)
        mount.session = mount.overlay = mount.pending = None

    def close(self) -> None:
        """Keep what was written to files that are still open in mounts that were taken away: the process ends."""
        with self._lock:
            lingering = [session for session in self._lingering if session.alive]
        for session in lingering:
            if session.overlay is not None:
                session.overlay.close()

    def _open_store(self, spec: MountSpec) -> tuple[MountSpec, Staging]:
        """Where the changes of a mount are staged, and the mount on the commit that they were made on."""
        if self.is_in_use(spec.name, wait_s=DETACH_SECONDS):
            why = "files of its former mount are still open"
            raise BusyError(f"cannot mount '{spec.name}' for writing", why, "close them")
        return self._writing.places.open(spec)

    def _start_writable(self, mount: Mount, store: Staging | None) -> None:
        if store is None:
            mount.spec, store = self._open_store(mount.spec)
        view = self._mounter.view(mount.spec, mount.statistics)
        try:
            overlay = self._writing.overlay(view, store)
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

    def is_in_use(self, name: str, *, wait_s: float = 0.0) -> bool:
        """Whether files are open in a former mount for writing of that name; it gets `wait_s` seconds to end."""
        place = self._writing.places.of(name)
        with self._lock:
            lingering = [session for session in self._lingering if session.alive]
        former = [each for each in lingering if each.overlay is not None and each.overlay.directory == place]
        deadline = time.monotonic() + wait_s
        while former and (remaining := deadline - time.monotonic()) > 0:
            former[0].join(remaining)
            former = [session for session in former if session.alive]
        return bool(former)

    def _linger(self, session: Session | None) -> None:
        if session is not None:
            with self._lock:
                self._lingering = [other for other in self._lingering if other.alive] + [session]
