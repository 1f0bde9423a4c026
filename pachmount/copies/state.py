"""What a checkout holds: one JSON file in its directory, and a journal of what was put there since it was written.

    .pachmount-checkout.json     the source, the commit, and of each file its size, its time on this disk and its hash
    .pachmount-checkout.journal  while it is being changed: a line for each file, written before the file is there

A line counts if the file is as it says, so that whatever interrupts the work, each file is known for ours or not.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pachmount.copies.disk import Seen, look
from pachmount.errors import BusyError, ConfigurationError

STATE, JOURNAL = ".pachmount-checkout.json", ".pachmount-checkout.journal"
VERSION = 1


class Kept(NamedTuple):
    """A file as it was put there."""

    size: int
    mtime_ns: int
    hash: str

    def is_at(self, seen: Seen | None) -> bool:
        return seen is not None and seen.is_file and (seen.size, seen.mtime_ns) == (self.size, self.mtime_ns)


@dataclass
class Checkout:
    """`source` names the branch (or the commit, if that was asked for), `commit` what the files are of, or are going to
    be until it is `complete`. `files` by their paths in the directory.
    """

    directory: Path
    source: str = ""
    commit: str = ""
    complete: bool = False
    files: dict[str, Kept] = field(default_factory=dict)

    def save(self) -> None:
        """Write all of it, at once, and begin a new journal."""
        document = {
            "version": VERSION,
            "source": self.source,
            "commit": self.commit,
            "complete": self.complete,
            "files": {
                path: {"size": kept.size, "mtime_ns": kept.mtime_ns, "hash": kept.hash}
                for path, kept in sorted(self.files.items())
            },
        }
        beside = self.directory / f"{STATE}.new"
        with open(beside, "w", encoding="utf-8") as file:
            json.dump(document, file, ensure_ascii=False, indent=0)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self.directory / STATE)
        (self.directory / JOURNAL).unlink(missing_ok=True)


class Journal:
    """Notes files of a checkout before they are there. Thread-safe."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._lock = threading.Lock()
        self._file = open(checkout.directory / JOURNAL, "a", encoding="utf-8")  # noqa: SIM115 (see close)

    def note(self, path: str, kept: Kept) -> None:
        with self._lock:
            self._file.write(json.dumps([path, *kept], ensure_ascii=False) + "\n")
            self._file.flush()
            self._checkout.files[path] = kept

    def close(self) -> None:
        self._file.close()


def load(directory: Path) -> Checkout | None:
    """The checkout in a directory, None if there is none. Raises ConfigurationError for a file that is not ours."""
    path = directory / STATE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        checkout = _read(directory, document)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        hint = "move it away, and check out with --force what it was"
        raise ConfigurationError(f"cannot use '{path}'", str(error), hint) from error
    for name, kept in _noted(directory / JOURNAL):
        if kept.is_at(look(directory / name)):
            checkout.files[name] = kept
    return checkout


def _read(directory: Path, document: dict[str, Any]) -> Checkout:
    if document["version"] != VERSION:
        raise ValueError(f"its version is {document['version']}, this program knows {VERSION}")
    files = {path: Kept(entry["size"], entry["mtime_ns"], entry["hash"]) for path, entry in document["files"].items()}
    return Checkout(directory, document["source"], document["commit"], bool(document["complete"]), files)


def _noted(journal: Path) -> Iterator[tuple[str, Kept]]:
    try:
        text = journal.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.split("\n")[:-1]:  # what follows the last newline was cut off; its file is not there
        name, size, mtime_ns, digest = json.loads(line)
        yield name, Kept(size, mtime_ns, digest)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Nobody else changes the checkout meanwhile. Raises BusyError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"'{directory}' is being changed", "by another checkout", "wait for its end") from error
        yield
    finally:
        os.close(descriptor)
