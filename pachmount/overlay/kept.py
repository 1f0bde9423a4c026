"""What is staged on the disk, as far as that is known without a mount: light, and never changes anything."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from pachmount.documents import DamagedError, parse_json
from pachmount.ledger import Verdict, look

NAMES_FILE = "names.sqlite"
DATA_DIRECTORY = "data"
RESERVE_FILE = "reserve"
LOST_DIRECTORY = "lost+found"
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Kept:
    """Staged changes under the name of a mount. `files` have staged bytes, `bytes` is their room on the disk.

    `source` is `project/repo@branch`, "" when it cannot be read. `damage` says what is damaged, "" if nothing is.
    """

    name: str
    source: str
    files: int
    bytes: int
    damage: str = ""


def kept_in(directory: Path) -> list[Kept]:
    """All names below `directory` under which anything is staged."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    found = (kept(directory / name) for name in names)
    return [each for each in found if each is not None]


def kept(place: Path) -> Kept | None:
    """What is staged in one directory; None only if it is proven that nothing is. What is damaged counts as changes."""
    if not place.is_dir():
        return None
    problem, source = "", ""
    is_empty = False
    try:
        problem, is_sure = _problem(place)
        if not problem and (place / NAMES_FILE).exists():
            is_empty, source = _look(place)
            is_empty = is_empty and is_sure
        elif not problem:
            is_empty = True
    except (OSError, sqlite3.Error, DamagedError, ValueError, LookupError, TypeError, AttributeError) as error:
        problem = problem or f"it cannot be read ({error})"
    if is_empty:
        return None
    files = size = 0
    with contextlib.suppress(OSError), os.scandir(place / DATA_DIRECTORY) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                files, size = files + 1, size + entry.stat().st_blocks * 512
    return Kept(place.name, source, files, size, problem)


def _problem(place: Path) -> tuple[str, bool]:
    """What is damaged in a store, "" if nothing is; and whether the names are as new as their ledger."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return "", True  # it is in use: whoever opened it has compared it
        found = look(place / NAMES_FILE, has_data=has_data(place))
    finally:
        os.close(descriptor)
    return (found.problem if found.verdict is Verdict.DAMAGED else ""), found.verdict is not Verdict.BEHIND


def why_unreadable(place: Path) -> str:
    """Why the names in a store cannot be believed as they are, "" if they can. Raises OSError."""
    problem, is_sure = _problem(place)
    return problem or ("" if is_sure else "its names are older than their ledger")


def _look(place: Path) -> tuple[bool, str]:
    """Whether the names are none, and `project/repo@branch` of the commit that was changed."""
    uri = f"{(place / NAMES_FILE).absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=LOOK_SECONDS)) as db:
        is_empty = db.execute("SELECT 1 FROM entry LIMIT 1").fetchone() is None
        row = db.execute("SELECT value FROM about WHERE key = 'base'").fetchone()
        base = parse_json(row[0].encode(errors="surrogatepass")) if row is not None and row[0] else {}
        names = [base[key] for key in ("project", "repo", "branch")] if base else []
        if not all(isinstance(name, str) for name in names):
            raise TypeError("the note on its commit has a field of a wrong type")
        return is_empty, "{}/{}@{}".format(*names) if names else ""


def data_files(directory: Path) -> dict[int, Path]:
    """The files of staged bytes that a store has, by number. Raises OSError."""
    data = directory / DATA_DIRECTORY
    try:
        return {int(name): data / name for name in os.listdir(data) if name.isascii() and name.isdecimal()}
    except FileNotFoundError:
        return {}


def has_data(directory: Path) -> bool:
    """Whether there is anything beside the names that only a store which was in use has. Raises OSError."""
    return bool(data_files(directory)) or (directory / RESERVE_FILE).exists()


def repair_hint(name: str) -> str:
    """What helps with a damaged store."""
    return f"'pachmount staged repair {name}' restores what can be proven, and removes nothing"


def is_removable(place: Path) -> bool:
    """Whether it is proven that a directory has nothing that anybody might want back. Raises OSError."""
    if not place.is_dir() or (place / LOST_DIRECTORY).exists():
        return False
    with_content = any(path.stat().st_size for path in data_files(place).values())
    return not with_content and kept(place) is None
