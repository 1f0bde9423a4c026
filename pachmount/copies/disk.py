"""What the disk has where a copy is to go, and errors of the disk in our words."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pachmount.beneath import Spot, UnsafePathError
from pachmount.errors import ConflictError, InvalidPathError, NotPermittedError, PachmountError, StorageFullError
from pachmount.reading import FileInfo
from pachmount.vfs.hashes import VERIFIABLE_BYTES, content_hash


class Seen(NamedTuple):
    """What a look at a path told: None in the place of it means that nothing is there. `mode` is that of lstat."""

    mode: int
    size: int
    mtime_ns: int

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


def look(spot: Spot) -> Seen | None:
    """What is at a place, links not followed."""
    info = spot.look()
    return None if info is None else Seen(info.st_mode, info.st_size, info.st_mtime_ns)


def hash_of(spot: Spot, size: int) -> str:
    """The server's hash of a file on the disk, hex; "" of one that is too large to tell it from the bytes alone."""
    if size >= VERIFIABLE_BYTES:
        return ""
    with open(spot.open_file(), "rb") as file:
        return content_hash(file.read(VERIFIABLE_BYTES)).hex()


def is_verifiable(file: FileInfo) -> bool:
    """Whether the hash of a file can be computed from its bytes; it is not known in a commit that is open."""
    return file.size < VERIFIABLE_BYTES and bool(file.hash.strip("0"))


def has_content(spot: Spot, seen: Seen, file: FileInfo) -> bool:
    """Whether a file on the disk is the one of the commit: by its hash, of a large one by size and time."""
    if not seen.is_file or seen.size != file.size:
        return False
    if is_verifiable(file):
        return hash_of(spot, seen.size) == file.hash
    return abs(seen.mtime_ns - time_ns(file)) < 1000


def time_ns(file: FileInfo) -> int:
    """The time that the copy of a file gets: when its commit was finished."""
    return int(file.modified * 1e6) * 1000


def require_room(directory: Path, needed: int) -> None:
    """StorageFullError if the disk of a directory has no room for that many bytes more. Raises OSError."""
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    if found.f_blocks and needed > free:  # a file system that counts no blocks, such as /proc, says more by itself
        why = f"{needed:,} bytes more are needed, {free:,} are free; nothing was changed"
        raise StorageFullError(f"no room for the files in '{directory}'", why, "make room, or name a smaller part")


@contextmanager
def explained(place: Path | Spot) -> Iterator[None]:
    """Say the system's errors as ours."""
    try:
        yield
    except (OSError, UnsafePathError) as error:
        raise _ours(error, place) from error


def _ours(error: OSError | UnsafePathError, place: Path | Spot) -> PachmountError:
    if isinstance(error, UnsafePathError):
        return InvalidPathError(f"cannot write below '{place}'", str(error))
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        why = "a symbolic link or a file is in the place of a directory on the way there"
        return ConflictError(f"cannot write '{place}'", why, "move it away, and run it again")
    kind = PachmountError
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        kind = StorageFullError
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        kind = NotPermittedError
    why = f"{error.strerror or error}"
    return kind(f"cannot write '{place}'", why, "what is complete stays; run it again when that is solved")
