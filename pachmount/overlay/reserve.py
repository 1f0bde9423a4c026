"""Room on the disk that is kept for the day when it is full: to delete files then, and to commit what is staged."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

RESERVED_BYTES = 1 << 20


class Reserve:
    """A file of no use in itself. It is as large as what might have to be written."""

    def __init__(self, path: Path, beside: Path) -> None:
        """`beside` is the file that the room is needed for: the larger that is, the more is needed."""
        self._path = path
        self._beside = beside

    def hold(self) -> None:
        """Take the room, if it is there."""
        with contextlib.suppress(OSError):
            size = RESERVED_BYTES + 3 * self._beside.stat().st_size
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(descriptor).st_size < size:
                    os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)

    def give(self) -> bool:
        """Leave the room to others; whether there was any."""
        try:
            os.unlink(self._path)
        except OSError:
            return False
        return True
