"""Writing files so that a crash does no harm."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
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


def text_aside(path: Path, aside: Path | None) -> str | None:
    """What was put aside and counts instead of what is at `path`; None if nothing does. Raises OSError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    if aside is not None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            found = json.loads(aside.read_text(encoding="utf-8"))
            if found["instead_of"] == _digest(data):
                return str(found["text"])
    return None


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
