"""Open files that a program has just closed, until the kernel lets go of them.

`close` waits for FLUSH alone; RELEASE comes when it has returned already (fs/fuse/file.c). In between nothing tells
such a file from one that is kept open through another descriptor, so whoever needs to know waits a moment.
"""

from __future__ import annotations

import threading
from typing import Protocol

CLOSING_SECONDS = 2.0
"""How long after FLUSH a RELEASE may be under way: it takes less than a millisecond, but on a busy machine."""


class Closable(Protocol):
    """An open file. `is_flushed`: nothing was written to it since a program closed one of its descriptors."""

    is_flushed: bool


class ClosingFiles:
    """Thread-safe."""

    def __init__(self) -> None:
        self._files: set[Closable] = set()
        self._changed = threading.Condition(threading.Lock())

    def flushed(self, file: Closable) -> None:
        with self._changed:
            file.is_flushed = True
            self._files.add(file)

    def written(self, file: Closable) -> None:
        """The file is in use still."""
        if file.is_flushed:
            self.released(file)

    def released(self, file: Closable) -> None:
        with self._changed:
            file.is_flushed = False
            self._files.discard(file)
            self._changed.notify_all()

    def wait(self, seconds: float = CLOSING_SECONDS) -> None:
        """Wait until all files that were flushed so far are released or written to again, for so long at most."""
        with self._changed:
            flushed = set(self._files)
            self._changed.wait_for(lambda: not flushed & self._files, seconds)
