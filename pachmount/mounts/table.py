"""The table of mounts: which there are, what happens to each one at a time, what the next daemon remembers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pachmount.errors import BusyError, CannotMountError, ConfigurationError, NotFoundError, StoppingError
from pachmount.mounts.mount import Mount, MountSpec
from pachmount.mounts.states import Event
from pachmount.mounts.store import MountStore

log = logging.getLogger(__name__)

OPERATION_SECONDS = 60.0
"""How long an operation waits for another one on the same mount."""
NOT_MOUNTED = "can't unmount when we're already unmounted"


class MountTable:
    """Thread-safe. Its lock is held for moments; `operation` is held while one mount changes, never with another's."""

    def __init__(self, store: MountStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._save_lock = threading.Lock()
        self._mounts: dict[str, Mount] = {}
        self._remembered: list[MountSpec] | None = None
        self._is_closed = False
        self.unsaved = ""
        """Why the next daemon would not know what is mounted; "" while it does."""

    @property
    def is_closed(self) -> bool:
        """Whether the daemon ends: nothing new begins."""
        return self._is_closed

    def close(self) -> None:
        """Refuse new mounts and operations from now on, with StoppingError; those under way go on."""
        with self._lock:
            self._is_closed = True

    def all(self) -> list[Mount]:
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
            raise NotFoundError(f"no mount '{name}'", "", "pachmount status")
        return found

    def find(self, name: str) -> Mount | None:
        """The same, or None."""
        try:
            return self.get(name)
        except NotFoundError:
            return None

    def has(self, mount: Mount) -> bool:
        """False when a mount was ended, or could not be made."""
        with self._lock:
            return self._mounts.get(mount.spec.name) is mount

    def reserve(self, name: str, spec: Callable[[], MountSpec]) -> tuple[Mount, bool]:
        """The mount of a name. If there is none, a new one and True: it is still to be started, its operation held.

        Raises StoppingError.
        """
        with self._lock:
            self._refuse_when_closed()
            existing = self._mounts.get(name)
            if existing is not None:
                return existing, False
            mount = Mount(spec())
            mount.operation.acquire()
            mount.on(Event.MOUNT)
            self._mounts[name] = mount
            return mount, True

    def drop(self, mount: Mount) -> None:
        with self._lock:
            self._mounts.pop(mount.spec.name, None)

    @contextmanager
    def operation(self, mount: Mount) -> Iterator[None]:
        """Nothing else happens to a mount meanwhile.

        Raises NotFoundError if it ended while that was waited for, BusyError, StoppingError.
        """
        self._refuse_when_closed()
        with self._held(mount, OPERATION_SECONDS):
            self._refuse_when_closed()
            if not self.has(mount):
                raise NotFoundError(NOT_MOUNTED, f"'{mount.spec.name}' was just unmounted", "pachmount status")
            yield

    @contextmanager
    def last_operation(self, mount: Mount, timeout: float) -> Iterator[None]:
        """The operation that takes a mount away when the daemon ends; waits `timeout` seconds for the one under way.

        Raises BusyError.
        """
        with self._held(mount, timeout):
            yield

    @contextmanager
    def _held(self, mount: Mount, timeout: float) -> Iterator[None]:
        if not mount.operation.acquire(timeout=timeout):
            why = f"another operation on it did not end within {timeout:.0f} s"
            raise BusyError(f"mount '{mount.spec.name}' is busy", why)
        try:
            yield
        finally:
            mount.operation.release()

    def _refuse_when_closed(self) -> None:
        if self._is_closed:
            raise StoppingError

    def load(self) -> list[MountSpec]:
        """What a former daemon had mounted."""
        return self._store.load()

    def remember(self, specs: list[MountSpec] | None) -> None:
        """Let the next daemon know these, whatever is mounted; None: what is mounted, again.

        Raises CannotMountError if these cannot be written; then nothing is changed.
        """
        before, self._remembered = self._remembered, specs
        if specs is None:
            self.save()
            return
        try:
            self._save()
        except BaseException:
            self._remembered = before
            raise

    def save(self) -> None:
        """Let the next daemon know what is mounted now, after something changed, which it did whether that can be
        written or not.

        It is tried again with every other change and when the daemon ends; `status` says that it is due.
        """
        try:
            self._save()
        except CannotMountError as error:
            log.warning("%s; the next daemon does not know of the last changes", error)

    def save_if_due(self) -> None:
        """Try again what could not be saved."""
        if self.unsaved:
            self.save()

    def _save(self) -> None:
        with self._save_lock:
            remembered = self._remembered
            specs = [mount.spec for mount in self.all()] if remembered is None else remembered
            try:
                self._store.save(specs)
            except (OSError, ConfigurationError) as error:
                why = error.strerror or str(error) if isinstance(error, OSError) else error.why
                self.unsaved = why
                raise CannotMountError("cannot remember the mounts", why) from error
            self.unsaved = ""
