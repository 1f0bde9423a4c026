"""Snapshots of a database, with which the log of a ledger begins."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import xxhash

from pachmount.errors import DataError, StorageFullError
from pachmount.ledger.compare import examine
from pachmount.ledger.frames import Header

_READ_BYTES = 1 << 20


def make(database: Path, directory: Path, number: int, unsummed: Collection[str], boot: str) -> tuple[Header, Path]:
    """Write a snapshot of the database as it is now, durably; other connections may go on writing.

    Gives the header of a log that begins with it, and the temporary file, which is to be renamed to `header.snapshot`.
    Raises OSError, sqlite3.Error, StorageFullError, and DataError if what was written cannot be read back.
    """
    require_space(directory, _size(database))
    path = directory / f"{number}.db.new"
    path.unlink(missing_ok=True)
    try:
        # Not the file: opening and closing that would take the locks from SQLite.
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
            db.execute("VACUUM INTO ?", (str(path),))
        os.chmod(path, 0o600)
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        row, total = examine(path, unsummed)
        if row is None or row.total != total:
            raise DataError(f"the snapshot {path} is not as it was written")
        size, digest = fingerprint(path)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise
    return Header(row.store, row.generation, row.total, f"{number}.db", size, digest, boot), path


def fingerprint(path: Path) -> tuple[int, bytes]:
    """Size and hash of a file. Raises OSError."""
    made = xxhash.xxh3_128()
    size = 0
    with open(path, "rb") as file:
        while data := file.read(_READ_BYTES):
            made.update(data)
            size += len(data)
    return size, made.digest()


def is_whole(path: Path, header: Header) -> bool:
    """Whether the snapshot of a log is as it was written. Raises OSError."""
    return path.is_file() and fingerprint(path) == (header.snapshot_size, header.snapshot_hash)


def require_space(directory: Path, size: int) -> None:
    """Raises StorageFullError if the disk has no room for so many bytes."""
    state = os.statvfs(directory)
    free = state.f_bavail * state.f_frsize
    if free < size:
        raise StorageFullError(
            f"no space left on the disk of {directory}",
            f"{size} bytes are needed, {free} are free",
            "free some space first",
        )


def copy(source: Path, target: Path) -> None:
    """Copy a file durably. Raises OSError."""
    with open(source, "rb") as one, open(target, "wb") as other:
        shutil.copyfileobj(one, other, _READ_BYTES)
        other.flush()
        os.fsync(other.fileno())


def _size(database: Path) -> int:
    size = database.stat().st_size
    with contextlib.suppress(FileNotFoundError):
        size += database.with_name(database.name + "-wal").stat().st_size
    return size
