"""Writing files so that a crash does no harm."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path


def replace_text(path: Path, text: str, mode: int = 0o600) -> None:
    """Put `text` at `path` so that a reader, or a crash, sees either the old file or the new one. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_directory(path.parent)


def put_aside(path: Path, aside: Path, text: str) -> None:
    """Let `text` at `aside` count instead of what is at `path` now, which cannot be replaced. Raises OSError."""
    former = path.read_bytes() if path.exists() else b""
    replace_text(aside, json.dumps({"instead_of": _digest(former), "text": text}))


def text_aside(path: Path, aside: Path | None, limit: int) -> str | None:
    """What was put aside and counts instead of what is at `path`; None if nothing does. Raises OSError.

    A file at `path` with more than `limit` bytes is none that anything counts instead of.
    """
    try:
        data = _read(path, limit)
    except FileNotFoundError:
        data = b""
    if aside is not None and data is not None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            found = json.loads(_read(aside, 2 * limit) or b"")
            if found["instead_of"] == _digest(data):
                return str(found["text"])
    return None


def _read(path: Path, limit: int) -> bytes | None:
    """The content of a regular file, None for more than `limit` bytes. Raises OSError; it never waits for a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        data = file.read(limit + 1)
    return data if len(data) <= limit else None


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=20).hexdigest()


def sync_directory(directory: Path) -> None:
    """Make the names in a directory survive a power loss. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, pieces: Sequence[bytes | memoryview], at: int) -> int:
    """Write pieces one behind the other from the offset `at` on; where they end. IOV_MAX pieces at most.

    The system may write less than it is asked to. Raises OSError.
    """
    rest = list(pieces)
    while rest:
        written = os.pwritev(descriptor, rest, at)
        at += written
        while rest and written >= len(rest[0]):
            written -= len(rest.pop(0))
        if written:
            rest[0] = memoryview(rest[0])[written:]
    return at
