"""What a checkout holds: one JSON file in its directory, and a journal of what was put there since it was written.

    .pachmount-checkout.json       the source, the commit, and of each file its size, its time on this disk and its hash
    .pachmount-checkout.copy.json  the same, for the day when that is damaged (documents.py)
    .pachmount-checkout.journal    while it is being changed: a line for each file, written before the file is there

A line counts if the file is as it says, so that whatever interrupts the work, each file is known for ours or not.
The directory may have come from somebody else: no path in these files leads out of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pachmount import own_files
from pachmount.beneath import Beneath, checked
from pachmount.copies.disk import Seen, look
from pachmount.documents import DamagedError, Document, Kind, parse_json
from pachmount.errors import BusyError, ConfigurationError, PachmountError
from pachmount.names import is_commit_id, parse_source

STATE, COPY = f"{own_files.CHECKOUT}.json", f"{own_files.CHECKOUT}.copy.json"
JOURNAL = f"{own_files.CHECKOUT}.journal"
_KIND = Kind("checkout", version=2, legacy=1, limit=512 << 20, mode=0o666)
_MAX_LINE = 1 << 20
_HASH = re.compile(r"[0-9a-f]{0,128}")
_PART = re.compile(r"\.pachmount-[0-9a-f]{24}\.part")


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
    be until it is `complete`. `files` by their paths in the directory; `parts` are temporary files that were begun.
    """

    top: Beneath
    source: str = ""
    commit: str = ""
    complete: bool = False
    files: dict[str, Kept] = field(default_factory=dict)
    parts: set[str] = field(default_factory=set)

    def save(self) -> None:
        """Write all of it, at once, and begin a new journal."""
        content = {
            "source": self.source,
            "commit": self.commit,
            "complete": self.complete,
            "parts": sorted(self.parts),
            "files": {path: kept._asdict() for path, kept in sorted(self.files.items())},
        }
        _document(self.top).write(content, with_copy=self.complete or not self.commit)
        with contextlib.suppress(FileNotFoundError):
            self.top.at(JOURNAL).unlink()

    def forget(self) -> None:
        """Let the directory be no checkout: one that was not begun."""
        for name in (STATE, COPY):
            with contextlib.suppress(FileNotFoundError):
                self.top.at(name).unlink()


class Journal:
    """Notes files of a checkout before they are there. Thread-safe."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._lock = threading.Lock()
        descriptor = checkout.top.at(JOURNAL).open(os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or os.fstat(descriptor).st_nlink != 1:
            os.close(descriptor)
            raise OSError(22, "it is no regular file of its own", str(checkout.top.at(JOURNAL)))
        self._file = open(descriptor, "wb")  # noqa: SIM115 (see close)

    def note(self, path: str, kept: Kept) -> None:
        with self._lock:
            self._write([path, *kept])
            self._checkout.files[path] = kept

    def note_part(self, path: str) -> None:
        """A temporary file will be made."""
        with self._lock:
            self._write([path])
            self._checkout.parts.add(path)

    def close(self) -> None:
        self._file.close()

    def _write(self, fields: list[Any]) -> None:
        text = json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogateescape")
        self._file.write(b"%b\t%b\n" % (text, _digest(text)))
        self._file.flush()


class Loaded(NamedTuple):
    """A checkout, and what was wrong with its state; "" if that was found as it was written. `is_new`: nothing is in
    it yet.
    """

    checkout: Checkout
    damage: str
    is_new: bool = False


def load(top: Beneath) -> Loaded | None:
    """The checkout in a directory, None if there is none. It changes nothing.

    Raises ConfigurationError for a state that cannot be used, and has no copy that can be.
    """
    try:
        found = _document(top).read(lambda content: _read(top, content))
        if found is None:
            return None
        checkout, how = found
        damage = how.damage or ("it is missing" if how.is_copy else "")
        for path, kept in _noted(top):
            if kept is None:
                checkout.parts.add(path)
            elif kept.is_at(look(top.at(path))):
                checkout.files[path] = kept
        return Loaded(checkout, damage)
    except (DamagedError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        hint = f"pachmount checkout SOURCE {top.directory} --force, which replaces files that differ"
        raise ConfigurationError(f"cannot use '{top.directory / STATE}'", str(why), hint) from error


def set_aside(top: Beneath, *, first_only: bool) -> list[str]:
    """Rename a state that cannot be used (and its journal with it); the new names."""
    document = _document(top)
    if first_only:
        return [document.set_first_aside()] if document.first.look() is not None else []
    names = document.set_aside()
    if top.at(JOURNAL).look() is not None and names:
        name = names[0].rpartition("/")[2].removesuffix(".json") + ".journal"
        top.at(JOURNAL).move_aside(name)
        names.append(name)
    return names


def _document(top: Beneath) -> Document:
    return Document(top, own_files.CHECKOUT, _KIND)


def _read(top: Beneath, content: dict[str, Any]) -> Checkout:
    source, commit, complete = content["source"], content["commit"], content["complete"]
    files, parts = content["files"], content.get("parts", [])
    if not (isinstance(files, dict) and isinstance(parts, list) and isinstance(complete, bool)):
        raise TypeError("a field has a wrong type")
    if not isinstance(commit, str) or (commit and not is_commit_id(commit)):
        raise ValueError("it names a commit that can be none")
    try:
        parse_source(_source(source))
    except PachmountError as error:
        raise ValueError(str(error)) from error
    kept = {_path(path): _kept(entry["size"], entry["mtime_ns"], entry["hash"]) for path, entry in files.items()}
    return Checkout(top, source, commit, complete, kept, {_part(path) for path in parts})


def _source(source: object) -> str:
    """A source, if it is a text. Raises ValueError."""
    if not isinstance(source, str) or len(source) > 8192:
        raise ValueError("it names no source")
    return source


def _noted(top: Beneath) -> Iterator[tuple[str, Kept | None]]:
    """The lines of the journal: files with what they are, temporary files with None. Raises DamagedError, OSError.

    What follows the last newline was cut off, and its file is not there. A damaged line counts as none: its file then
    is one that was changed here, which nothing removes.
    """
    try:
        descriptor = top.at(JOURNAL).open_file()
    except FileNotFoundError:
        return
    with open(descriptor, "rb") as lines:
        if os.fstat(descriptor).st_size > _KIND.limit:
            raise DamagedError(f"'{JOURNAL}' is too large")
        while (line := lines.readline(_MAX_LINE)).endswith(b"\n"):
            text, tab, digest = line[:-1].rpartition(b"\t")
            if tab and digest != _digest(text):
                continue
            yield from _line(text if tab else digest)  # one of the version before has no checksum


def _line(text: bytes) -> Iterator[tuple[str, Kept | None]]:
    try:
        fields = parse_json(text)
    except DamagedError:
        return
    try:
        if isinstance(fields, list) and len(fields) == 1:
            yield _part(fields[0]), None
        elif isinstance(fields, list) and len(fields) == 4:
            yield _path(fields[0]), _kept(*fields[1:])
    except (ValueError, TypeError) as error:
        raise DamagedError(f"'{JOURNAL}': {error}") from error


def _path(path: object) -> str:
    found = checked(path)
    if own_files.is_in_own(found):
        raise ValueError(f"'{found[:100]}' is a file of this program")
    return found


def _part(path: object) -> str:
    found = checked(path)
    if not _PART.fullmatch(found.rpartition("/")[2]):
        raise ValueError(f"'{found[:100]}' is no temporary file of this program")
    return found


def _kept(size: object, mtime_ns: object, digest: object) -> Kept:
    if type(size) is not int or type(mtime_ns) is not int or not isinstance(digest, str):
        raise TypeError("a file has a field of a wrong type")
    if not 0 <= size < 1 << 63 or not -(1 << 63) <= mtime_ns < 1 << 63 or not _HASH.fullmatch(digest):
        raise ValueError("a file has a size, a time or a hash that can be none")
    return Kept(size, mtime_ns, digest)


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=8).hexdigest().encode()


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
