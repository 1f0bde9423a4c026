"""The outputs of all datums as one tree, by a pipeline's rules: no path may come from two of them."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pachmount.errors import ConflictError, NotPermittedError, PachmountError, StorageFullError, UsageError

_SHOWN = 5


@dataclass(frozen=True)
class Merged:
    """`files` has where each file is, by its path in the output."""

    files: Mapping[str, Path]
    bytes: int


def merge(outputs: Iterable[tuple[str, Path]]) -> Merged:
    """What the outputs (by datum) hold together. Raises ConflictError; nothing is put anywhere."""
    owners: dict[str, str] = {}
    directories: dict[str, str] = {}
    files: dict[str, Path] = {}
    conflicts: list[str] = []
    size = 0
    for datum, out in outputs:
        for path, file in _files(out):
            if path in owners:
                conflicts.append(f"'{path}' from datums {owners[path][:12]} and {datum[:12]}")
                continue
            owners[path] = datum
            files[path] = file
            size += file.stat().st_size
            parent = os.path.dirname(path)
            while parent and parent not in directories:
                directories[parent] = datum
                parent = os.path.dirname(parent)
    for path in sorted(owners.keys() & directories.keys()):
        conflicts.append(f"'{path}' is a file in datum {owners[path][:12]}, a directory in {directories[path][:12]}")
    if conflicts:
        shown = "; ".join(conflicts[:_SHOWN]) + (
            f"; and {len(conflicts) - _SHOWN} more" if len(conflicts) > _SHOWN else ""
        )
        hint = "have the code write below a directory or name of the datum's own, as in a pipeline"
        raise ConflictError("the datums' outputs cannot be merged", shown, hint)
    return Merged(files, size)


def _files(out: Path) -> Iterable[tuple[str, Path]]:
    for directory, _, names in os.walk(out):
        for name in sorted(names):
            file = Path(directory, name)
            yield str(file.relative_to(out)), file


def check_target(directory: Path, *, replace: bool) -> None:
    """Refuse a directory that has something in it, unless it is to be replaced. Raises UsageError."""
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise UsageError(f"cannot write to '{directory}'", "it is no directory", "give --out another one")
    if not replace and directory.is_dir() and any(directory.iterdir()):
        raise UsageError(f"cannot write to '{directory}'", "it is not empty", "--replace removes what it has")


def put(merged: Merged, directory: Path) -> None:
    """Have the files, and nothing else, in a directory: all of them or none. Raises PachmountError."""
    beside = beside_of(directory)
    try:
        _fill(merged, beside, link=False)
        if directory.exists():
            shutil.rmtree(directory)
        beside.rename(directory)
    except OSError as error:
        raise cannot_write(directory, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def beside_of(directory: Path) -> Path:
    """A name beside a directory that nothing has: what stands there is never removed."""
    return directory.with_name(f".pachmount-{secrets.token_hex(8)}.new")


def cannot_write(directory: Path, error: OSError) -> PachmountError:
    """The error for a directory that could not be filled."""
    kind = PachmountError
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        kind = StorageFullError
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        kind = NotPermittedError
    where = f" ({error.filename})" if error.filename else ""
    return kind(f"cannot write to '{directory}'", f"{error.strerror or error}{where}", "choose another place")


def link(merged: Merged, directory: Path) -> None:
    """Have the files in a new directory on the same disk, without copying them."""
    shutil.rmtree(directory, ignore_errors=True)
    _fill(merged, directory, link=True)


def _fill(merged: Merged, directory: Path, *, link: bool) -> None:
    directory.mkdir(parents=True)
    made: set[Path] = set()
    for path, file in merged.files.items():
        target = directory / path
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        if link:
            os.link(file, target)
        else:
            shutil.copy(file, target)
