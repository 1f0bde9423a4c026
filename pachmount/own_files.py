"""The names of files that this program keeps among those of its user; they are never data.

Imports and commits leave them out, checkouts and `get -r` do not bring them.
"""

from __future__ import annotations

import unicodedata
from fnmatch import fnmatchcase

CHECKOUT = ".pachmount-checkout"
"""Begins the names of a checkout's own files."""
PATTERNS = (
    f"{CHECKOUT}.*",
    ".pachmount-*.part",  # a file on its way (copies/part.py)
    ".pachmount-*.new",  # a directory that is being filled (running/filling.py)
    ".pachmount-*~",  # what JupyterLab saves (pachmount_lab/disk.py)
    ".pachmount-out-*",  # the output of the datum before (mounts/datum_mode.py)
)
SHOWN = 5


def is_own(name: str) -> bool:
    """Whether a file or directory of that name is ours, also on a disk that takes `a` and `A` for the same."""
    if not name.isascii():
        name = unicodedata.normalize("NFKC", "".join(c for c in name if unicodedata.category(c) != "Cf"))
    name = name.casefold()
    return name.startswith(".pachmount-") and any(fnmatchcase(name, pattern) for pattern in PATTERNS)


def is_in_own(path: str) -> bool:
    """Whether a path is of such a file, or leads through such a directory."""
    return any(map(is_own, path.split("/")))


def shown(paths: list[str]) -> str:
    """The first of some paths, for a message."""
    more = f", and {len(paths) - SHOWN:,} more" if len(paths) > SHOWN else ""
    return ", ".join(f"'{path}'" for path in paths[:SHOWN]) + more
