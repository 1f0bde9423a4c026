"""Files of staged bytes that no row of the store names: moved aside, and removed when nobody has missed them."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from pachmount.files import sync_directory
from pachmount.overlay.kept import LOST_DIRECTORY

log = logging.getLogger(__name__)

PREFIX = "unnamed-"
KEPT_SECONDS = 14 * 24 * 3600.0


def set_aside(store: Path, files: Collection[Path]) -> None:
    """Move files of a store, which proved whole, to `lost+found/unnamed-<time>`. Raises OSError."""
    if not files:
        return
    place = store / LOST_DIRECTORY / (PREFIX + time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime()))
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    for file in files:
        os.replace(file, place / file.name)
    for changed in (store, place.parent, place, *{file.parent for file in files}):
        sync_directory(changed)
    log.warning("%d files of staged bytes that belong to nothing were moved to %s", len(files), place)


def remove_old(store: Path, now: float | None = None) -> None:
    """Remove what was set aside two weeks ago. What cannot be removed is said in the log."""
    now = time.time() if now is None else now
    try:
        for place in (store / LOST_DIRECTORY).glob(PREFIX + "*"):
            if place.stat().st_mtime < now - KEPT_SECONDS and place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
    except OSError as error:
        log.warning("%s stays: %s", error.filename, error.strerror)
