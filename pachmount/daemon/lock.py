"""The daemon's lock: held with flock for its whole life, so that it tells the truth about whether a daemon runs."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from pachmount.errors import BusyError
from pachmount.paths import make_private_dir, open_private


class DaemonLock:
    """An exclusive lock on a file that also names our pid; BusyError if another daemon has it."""

    def __init__(self, path: Path) -> None:
        make_private_dir(path.parent)
        self._descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise BusyError("the daemon is already running", f"pid {holder}" if holder else "") from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock up; the file stays, without a pid: a daemon that was killed leaves its pid behind."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
