"""Finding the files of a local directory that are to be stored in a repo, and what is in the way."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from pachmount.errors import DataError, InvalidPathError, NotFoundError, UsageError
from pachmount.names import printable, unstorable_reason
from pachmount.own_files import is_own

_SHOWN = 5
_OWN_REASONS = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""Errors that are a property of a file. After any other the directory was not seen, and may not count as empty."""


@dataclass(frozen=True)
class LocalFile:
    """A file to store: where it is, its path in the repo, and its size in bytes when it was found."""

    local: str
    stored: str
    size: int


@dataclass(frozen=True)
class Skipped:
    """A file that cannot be stored, by its path below the directory, and why."""

    path: str
    reason: str


@dataclass
class Scan:
    """What a directory holds, in path order. PFS has no empty directories, so those are only counted."""

    files: list[LocalFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    """What is left out because it is this program's: by paths below the directory."""
    empty_directories: int = 0
    total_bytes: int = 0


def scan_tree(directory: Path, destination: str, exclude: Sequence[str] = (), *, skip_invalid: bool = False) -> Scan:
    """List the files below `directory`; symbolic links count as what they point to.

    `destination` is the path in the repo ("" or `/a/b`). `exclude` holds shell patterns for names or for paths below
    the directory. Files that cannot be stored raise InvalidPathError, all of them in one, unless `skip_invalid`;
    DataError if the disk fails, or a mount whose commit is gone.
    """
    if not directory.exists():
        raise NotFoundError(f"directory '{directory}' not found")
    if not directory.is_dir():
        raise UsageError(f"'{directory}' is not a directory")
    scan = Scan()
    for item in _walk(str(directory), "", exclude, scan, ()):
        if reason := unstorable_reason(destination + item.stored):
            scan.skipped.append(Skipped(item.stored[1:], reason))
        else:
            scan.files.append(LocalFile(item.local, destination + item.stored, item.size))
            scan.total_bytes += item.size
    if scan.skipped and not skip_invalid:
        raise _refusal(scan.skipped)
    return scan


def _walk(
    directory: str, below: str, exclude: Sequence[str], scan: Scan, above: tuple[tuple[int, int], ...]
) -> Iterator[LocalFile]:
    """Depth first. `above` identifies the directories on the way down: a link back to one of them would never end."""
    try:
        with os.scandir(directory) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        own = os.stat(directory)
    except OSError as error:
        if not below or error.errno not in _OWN_REASONS:
            raise DataError(f"cannot read '{directory}'", f"{error.strerror or error}; nothing was sent") from error
        scan.skipped.append(Skipped(below[1:], error.strerror or str(error)))
        return
    if not entries:
        scan.empty_directories += 1
    identity = (own.st_dev, own.st_ino)
    if identity in above:
        scan.skipped.append(Skipped(below[1:], "a link that leads back to a directory above it"))
        return
    for entry in entries:
        path = f"{below}/{entry.name}"
        if is_own(entry.name):
            scan.own.append(path[1:])
            continue
        if any(fnmatch(entry.name, pattern) or fnmatch(path[1:], pattern) for pattern in exclude):
            continue
        try:
            status = entry.stat()
        except FileNotFoundError:
            scan.skipped.append(Skipped(path[1:], "a link to something that does not exist"))
            continue
        except OSError as error:
            if error.errno not in _OWN_REASONS:
                raise DataError(
                    f"cannot read '{entry.path}'", f"{error.strerror or error}; nothing was sent"
                ) from error
            scan.skipped.append(Skipped(path[1:], error.strerror or str(error)))
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(entry.path, path, exclude, scan, (*above, identity))
        elif reason := _unreadable_reason(entry.path, status.st_mode):
            scan.skipped.append(Skipped(path[1:], reason))
        else:
            yield LocalFile(entry.path, path, status.st_size)


def _unreadable_reason(path: str, mode: int) -> str:
    if stat.S_ISREG(mode):
        return "" if os.access(path, os.R_OK) else "it cannot be read (permission denied)"
    kinds = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    return f"{kinds.get(stat.S_IFMT(mode), 'something')}, not a file"


def _refusal(skipped: list[Skipped]) -> InvalidPathError:
    shown = "; ".join(f"{printable(item.path)}: {item.reason}" for item in skipped[:_SHOWN])
    more = f"; and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
    count = "1 file" if len(skipped) == 1 else f"{len(skipped)} files"
    return InvalidPathError(f"{count} cannot be stored", shown + more, "leave them out with --skip-invalid")
