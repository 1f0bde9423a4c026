"""The outputs of all datums as one tree, by a pipeline's rules: no path may come from two of them."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pachmount.beneath import Beneath, Spot
from pachmount.errors import ConflictError, DataError, NotPermittedError, PachmountError, StorageFullError, UsageError
from pachmount.running.filling import filling, filling_in

_SHOWN = 5
_PIECE = 1 << 20
_TOGETHER = "together"


@dataclass(frozen=True)
class Merged:
    """`files` has where each file is, by its path in the output."""

    files: Mapping[str, Spot]
    bytes: int


def merge(outputs: Iterable[tuple[str, Spot]]) -> Merged:
    """What the outputs (directories, by datum) hold together. Raises ConflictError and DataError; nothing is put
    anywhere.
    """
    owners: dict[str, str] = {}
    directories: dict[str, str] = {}
    files: dict[str, Spot] = {}
    conflicts: list[str] = []
    size = 0
    for datum, out in outputs:
        for path, file, file_size in _files(datum, out):
            if path in owners:
                conflicts.append(f"'{path}' from datums {owners[path][:12]} and {datum[:12]}")
                continue
            owners[path] = datum
            files[path] = file
            size += file_size
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


def _files(datum: str, out: Spot) -> Iterator[tuple[str, Spot, int]]:
    """The files of an output and their sizes. Workers leave no links in it: one that is there now is not followed."""
    pending = [out.path]
    try:
        while pending:
            directory = pending.pop()
            for name, mode in Spot(out.top, directory).entries():
                file = Spot(out.top, f"{directory}/{name}")
                if stat.S_ISDIR(mode):
                    pending.append(file.path)
                elif stat.S_ISREG(mode) and (info := file.look()) is not None:
                    yield file.path.removeprefix(f"{out.path}/"), file, info.st_size
                else:
                    raise OSError(errno.EINVAL, "it is no regular file", str(file))
    except OSError as error:
        why = f"{error.filename or out}: {error.strerror or error}"
        hint = f"run it again: pachmount run SPEC --datum {datum[:12]} --again"
        raise DataError(f"the output of datum {datum[:12]} cannot be read", why, hint) from error


def check_target(directory: Path, *, replace: bool) -> None:
    """Refuse a directory that has something in it, unless it is to be replaced. Raises UsageError."""
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise UsageError(f"cannot write to '{directory}'", "it is no directory", "give --out another one")
    try:
        if not replace and directory.is_dir() and any(directory.iterdir()):
            raise UsageError(f"cannot write to '{directory}'", "it is not empty", "--replace removes what it has")
        if directory.is_mount():
            raise UsageError(f"cannot write to '{directory}'", "something is mounted there", "name one below it")
        _try_out(directory)
    except OSError as error:
        raise cannot_write(directory, error) from error


def check_file(file: Path) -> None:
    """Refuse a file that cannot be written, before there is something to write. Raises PachmountError."""
    if file.is_dir():
        raise UsageError(f"cannot write '{file}'", "it is a directory", "name a file")
    try:
        if file.exists():
            if file.is_file():
                file.open("ab").close()
            return
        _try_out(file)
    except OSError as error:
        raise cannot_write(file, error) from error


def _try_out(path: Path) -> None:
    """See that something can be made beside a path, as far as its directories exist. Raises OSError."""
    existing = path.parent
    while not existing.exists():
        existing = existing.parent
    trial = existing / f".pachmount-{secrets.token_hex(8)}.new"
    trial.mkdir()
    trial.rmdir()


def put(merged: Merged, directory: Path) -> None:
    """Have the files, and nothing else, in a directory: all of them or none. Raises PachmountError.

    What it had is removed when they are there.
    """
    try:
        with filling(directory) as new:
            _fill(merged, new.tree, link=False)
            new.put(replace=True)
    except OSError as error:
        raise cannot_write(directory, error) from error


def cannot_write(directory: Path, error: OSError) -> PachmountError:
    """The error for a directory that could not be filled."""
    kind = PachmountError
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        kind = StorageFullError
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        kind = NotPermittedError
    where = f" ({error.filename})" if error.filename else ""
    return kind(f"cannot write to '{directory}'", f"{error.strerror or error}{where}", "choose another place")


@contextmanager
def linked(merged: Merged, above: Beneath) -> Iterator[Path]:
    """The files in a directory of their own below the one that has the outputs, without copying them.

    It is gone afterwards. Raises PachmountError.
    """
    with ExitStack() as stack:
        try:
            tree = stack.enter_context(filling_in(above, _TOGETHER)).tree
            _fill(merged, tree, link=True)
        except OSError as error:
            raise cannot_write(above.directory, error) from error
        yield tree.directory


def _fill(merged: Merged, tree: Beneath, *, link: bool) -> None:
    for path, file in merged.files.items():
        target = Spot(tree, path)
        if link:
            with file.parent() as source, target.parent(make=True) as parent:
                os.link(file.name, target.name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        else:
            with (
                open(file.open_file(), "rb") as source_file,
                open(target.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL, make=True), "wb") as target_file,
            ):
                shutil.copyfileobj(source_file, target_file, _PIECE)
                os.fchmod(target_file.fileno(), stat.S_IMODE(os.fstat(source_file.fileno()).st_mode))
