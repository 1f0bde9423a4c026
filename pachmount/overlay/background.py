"""Writing what was staged to the disk from time to time, so that a power loss takes the changes of seconds at most."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pachmount.errors import PachmountError

log = logging.getLogger(__name__)

SYNC_SECONDS = 5.0


class BackgroundSync:
    """A thread that calls `sync` every few seconds. What fails is tried again, and said once in the log."""

    def __init__(self, sync: Callable[[], None], seconds: float = SYNC_SECONDS) -> None:
        self._sync = sync
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="staging-sync", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """It syncs no more when this returns."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        is_failing = False
        while not self._stopping.wait(self._seconds):
            try:
                self._sync()
                is_failing = False
            except (OSError, PachmountError) as error:
                if not is_failing:
                    log.warning("staged changes cannot be written to the disk: %s", error)
                is_failing = True
