"""What is staged on the disk, as far as that is known without a mount: light, and never changes anything."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

NAMES_FILE = "names.sqlite"
DATA_DIRECTORY = "data"
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Kept:
    """Staged changes under the name of a mount. `files` have staged bytes, `bytes` is their room on the disk.

    `source` is `project/repo@branch`, "" when it cannot be read; then there may be no changes after all.
    """

    name: str
    source: str
    files: int
    bytes: int


def kept_in(directory: Path) -> list[Kept]:
    """All names below `directory` under which anything is staged."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    found = (kept(directory / name) for name in names)
    return [each for each in found if each is not None]


def kept(place: Path) -> Kept | None:
    """What is staged in one directory; None if nothing is. What cannot be read counts as changes."""
    if not (place / NAMES_FILE).exists():
        return None
    source = ""
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{place / NAMES_FILE}?mode=ro", uri=True, timeout=LOOK_SECONDS)
        ) as db:
            if db.execute("SELECT 1 FROM entry LIMIT 1").fetchone() is None:
                return None
            row = db.execute("SELECT value FROM about WHERE key = 'base'").fetchone()
            base = json.loads(row[0]) if row is not None and row[0] else {}
            if base:
                source = f"{base['project']}/{base['repo']}@{base['branch']}"
    except (sqlite3.Error, ValueError, KeyError):
        pass  # whoever mounts it is told what is wrong
    files = size = 0
    with contextlib.suppress(OSError), os.scandir(place / DATA_DIRECTORY) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                files, size = files + 1, size + entry.stat().st_blocks * 512
    return Kept(place.name, source, files, size)
