"""A session: one view mounted at one directory, served by libfuse's threads until the mount goes away."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from pachmount.errors import CannotMountError, PachmountError
from pachmount.fuse import handshake, kernel
from pachmount.overlay.overlay import Overlay
from pachmount.vfs.view import CommitView

log = logging.getLogger(__name__)

MOUNT_SECONDS = 20.0
CLOSE_SECONDS = 60.0
"""How long it may take to write what is staged to the disk when a session ends."""
DAY = 86400

_UNCHANGING: dict[str, str | int | bool] = {
    "ro": True,
    "kernel_cache": True,
    "attr_timeout": DAY,
    "entry_timeout": DAY,
    "negative_timeout": DAY,
}
"""Nothing of a pinned commit ever changes, so the kernel may keep all it learned for a day."""
_CHANGING: dict[str, str | int | bool] = {
    "big_writes": True,
    "attr_timeout": 0,
    "entry_timeout": 1,
    "negative_timeout": 0,
}
"""The names of a hard link are different files to libfuse 2: what is done by one, the kernel cannot know of others."""

_mounting = threading.Lock()
"""libfuse reports why it cannot mount only on stderr, so one mount at a time may fail."""


def survive_closed_connections() -> None:
    """Keep a write to a connection that its peer closed from ending the process; call it in the main thread.

    Python ignores SIGPIPE, but libfuse 2 (fuse_remove_signal_handlers) sets an ignored SIGPIPE back to the default,
    which is to die, when a session ends. It leaves a handler alone. Programs that are started get the default, as ever.
    """
    signal.signal(signal.SIGPIPE, lambda _number, _frame: None)


class Session:
    """A kernel mount of an immutable view, or of an overlay over one.

    It ends when the mount is gone and the last file in it is closed.
    """

    def __init__(
        self,
        view: CommitView,
        mountpoint: Path,
        *,
        allow_other: bool,
        overlay: Overlay | None = None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_end` is called, in a thread of this session, once it has ended, for whatever reason."""
        self.view = view
        self._on_end = on_end
        self.overlay = overlay
        self.mountpoint = mountpoint
        self._allow_other = allow_other
        self._forget: Callable[[Iterable[bytes]], None] = lambda _paths: None
        self._ready = threading.Event()
        self._served = threading.Event()
        self._ended = threading.Event()
        self._failure = ""

    @property
    def alive(self) -> bool:
        return not self._ended.is_set()

    def start(self) -> None:
        """Mount; returns when the kernel shows the mount. Raises CannotMountError, leaving nothing mounted."""
        kernel.check_fuse()
        if self._allow_other and not kernel.others_are_permitted():
            why = f"other users may see it only if {kernel.FUSE_CONF} permits that"
            hint = f"add the line user_allow_other to {kernel.FUSE_CONF}, or do without allow_other"
            raise CannotMountError(f"cannot mount at '{self.mountpoint}'", why, hint)
        with _mounting:
            threading.Thread(
                target=self._serve,
                args=(self._server(),),
                name=f"fuse {self.view.source.repo}",
                daemon=True,
            ).start()
            self._ready.wait(MOUNT_SECONDS)
        if not self._ready.is_set() or self._ended.is_set():
            if self.alive:
                kernel.detach_all(self.mountpoint)
            raise CannotMountError(
                f"cannot mount at '{self.mountpoint}'",
                self._failure or f"libfuse was not ready after {MOUNT_SECONDS:.0f} s",
                "pachmount doctor",
            )
        kernel.set_read_ahead(self.mountpoint, handshake.READ_BYTES)

    def join(self, timeout: float) -> bool:
        """Wait for the end of the session; whether it has ended. If it has not, what is staged is on the disk at least.

        `timeout` is for programs to close their files; what was staged then takes the time that it takes.
        """
        if self._served.wait(timeout):
            return self._ended.wait(CLOSE_SECONDS)
        if self.overlay is not None:
            try:
                self.overlay.sync_changed()
            except (OSError, PachmountError) as error:
                log.warning("%s could not be synced: %s", self.overlay.directory, error)
        return not self.alive

    def forget(self, paths: Iterable[bytes]) -> None:
        """Let programs see what is at some paths and below now, where the overlay changed without an operation."""
        self._forget(paths)

    def _server(self) -> Callable[[], None]:
        from pachmount.fuse import binding, writable  # says what is missing where libfuse cannot be loaded

        where, options = str(self.mountpoint), self._options()
        if self.overlay is None:
            operations = binding.ReadOnlyOperations(self.view, self._ready.set)
            return lambda: binding.serve(operations, where, options)
        writing = writable.ReadWriteOperations(self.view, self.overlay, self._ready.set)
        self._forget = writing.forget

        def serve() -> None:
            try:
                binding.serve(writing, where, options, writable.WritableSession)
            finally:
                writing.close()

        return serve

    def _serve(self, serve: Callable[[], None]) -> None:
        said_before = _stderr_size()
        if self.overlay is not None:
            self.overlay.sync_in_background()
        try:
            serve()
        except RuntimeError:
            self._failure = _stderr_since(said_before) or "libfuse refused"
            log.exception("libfuse could not mount at %s: %s", self.mountpoint, self._failure)
        except Exception as error:
            self._failure = str(error)
            log.exception("the session at %s failed", self.mountpoint)
        finally:
            self._served.set()
            if self.overlay is not None:  # before anybody else uses its store
                self.overlay.close()
            self._ended.set()
            self._ready.set()
            self.view.close()
            self._on_end()

    def _options(self) -> dict[str, str | int | bool]:
        source = self.view.source
        return {
            **(_UNCHANGING if self.overlay is None else _CHANGING),
            "max_read": handshake.READ_BYTES,
            "max_readahead": handshake.READ_BYTES,
            "max_background": handshake.MAX_BACKGROUND,
            "congestion_threshold": handshake.CONGESTION_THRESHOLD,
            "use_ino": True,
            "default_permissions": True,
            "nosuid": True,
            "nodev": True,
            "nonempty": True,
            "allow_other": self._allow_other,
            "fsname": f"pachmount:{source.project}/{source.repo}@{source.commit}",
            "subtype": "pachmount",
        }


def _stderr_size() -> int:
    return os.fstat(2).st_size


def _stderr_since(size: int) -> str:
    """What libfuse wrote to stderr, when that is a file (the daemon's always is, except in the foreground)."""
    try:
        with open("/proc/self/fd/2", "rb") as stderr:
            stderr.seek(size)
            return " ".join(stderr.read(4096).decode(errors="replace").split())
    except OSError:
        return ""
