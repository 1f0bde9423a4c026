"""Changing files at a mount's real path: within the mount, never through a symbolic link, and all or nothing.

All of it is blocking and may hang as long as the mount does: it runs in `Workers`. Raises PachmountError.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from pachmount.errors import (
    AlreadyExistsError,
    BusyError,
    ClusterTimeoutError,
    InvalidPathError,
    NotADirectoryInSourceError,
    NotFoundError,
    NotPermittedError,
    PachmountError,
    ReadOnlyError,
    StorageFullError,
)

Names = tuple[bytes, ...]
"""A path below a mount, by its names."""

FILE_MODE = 0o666
DIRECTORY_MODE = 0o777
MAX_UNTITLED = 10_000

_KINDS: dict[int, type[PachmountError]] = {
    errno.ENOENT: NotFoundError,
    errno.ENOTDIR: NotADirectoryInSourceError,
    errno.ELOOP: NotADirectoryInSourceError,
    errno.EEXIST: AlreadyExistsError,
    errno.ENOTEMPTY: AlreadyExistsError,
    errno.EISDIR: AlreadyExistsError,
    errno.EROFS: ReadOnlyError,
    errno.EACCES: NotPermittedError,
    errno.EPERM: NotPermittedError,
    errno.ENOSPC: StorageFullError,
    errno.EDQUOT: StorageFullError,
    errno.EINVAL: InvalidPathError,
    errno.ENAMETOOLONG: InvalidPathError,
    errno.EBUSY: BusyError,
    errno.ETIMEDOUT: ClusterTimeoutError,
}
_NO_FOLLOW = os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Spot:
    """A file or directory to be, or that is: a name in a directory of a mount."""

    mountpoint: str
    names: Names

    def __str__(self) -> str:
        return "/" + b"/".join(self.names).decode(errors="replace")

    @property
    def name(self) -> bytes:
        return self.names[-1]

    @contextlib.contextmanager
    def parent(self) -> Iterator[int]:
        """The directory that it is in, open. A link on the way there is not followed: it is no directory."""
        with _explained(self):
            descriptor = os.open(self.mountpoint, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for name in self.names[:-1]:
                    below = os.open(name, os.O_PATH | os.O_DIRECTORY | _NO_FOLLOW, dir_fd=descriptor)
                    os.close(descriptor)
                    descriptor = below
                yield descriptor
            finally:
                os.close(descriptor)


def names_of(path: bytes) -> Names:
    """The names in a path. Raises InvalidPathError for what could lead elsewhere."""
    names = tuple(name for name in path.split(b"/") if name)
    for name in names:
        if name in (b".", b"..") or b"\0" in name:
            raise InvalidPathError(f"invalid path '{path.decode(errors='replace')}'", "'.', '..' and NUL are refused")
    return names


@contextlib.contextmanager
def looking_at(spot: Spot, flags: int = os.O_PATH) -> Iterator[int]:
    """A file or directory, open; a link is not followed. `spot` may be the directory of the mount itself."""
    with _explained(spot):
        if not spot.names:
            descriptor = os.open(spot.mountpoint, flags | os.O_CLOEXEC)
        else:
            with spot.parent() as parent:
                descriptor = os.open(spot.name, flags | _NO_FOLLOW, dir_fd=parent)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def make_directory(spot: Spot) -> None:
    with spot.parent() as parent:
        os.mkdir(spot.name, DIRECTORY_MODE, dir_fd=parent)


def make_untitled(directory: Spot, candidates: Iterator[str], content: bytes | None) -> Spot:
    """A new file (a directory for None) in `directory / any`, by the first name that is free."""
    for name in candidates:
        spot = Spot(directory.mountpoint, (*directory.names, name.encode()))
        try:
            if content is None:
                make_directory(spot)
            else:
                with spot.parent() as parent:
                    _write_new(parent, spot.name, content)
            return spot
        except AlreadyExistsError:
            continue
    raise AlreadyExistsError("no name is free", f"{MAX_UNTITLED} are taken", "rename some")


def save(spot: Spot, content: bytes) -> None:
    """Make or replace a file: on failure the former one is as it was."""
    with spot.parent() as parent:
        former = _stat(parent, spot.name)
        _refuse_directory(spot, former)
        temporary = temporary_name()
        _write_new(parent, temporary, content, former)
        _put_in_place(parent, temporary, spot.name)


def append(spot: Spot, temporary: bytes, content: bytes, *, is_first: bool) -> None:
    """Add a piece to a file that will take the place of `spot`, beside it; `put_in_place` does so."""
    with spot.parent() as parent:
        if is_first:
            former = _stat(parent, spot.name)
            _refuse_directory(spot, former)
            _write_new(parent, temporary, content, former)
            return
        descriptor = os.open(temporary, os.O_WRONLY | os.O_APPEND | _NO_FOLLOW, dir_fd=parent)
        with open(descriptor, "wb") as file:
            file.write(content)


def put_in_place(spot: Spot, temporary: bytes) -> None:
    """Let the file beside `spot` take its place."""
    with spot.parent() as parent:
        _put_in_place(parent, temporary, spot.name)


def drop(spot: Spot, temporary: bytes) -> None:
    """Forget the file beside `spot`."""
    with contextlib.suppress(NotFoundError), spot.parent() as parent:
        os.unlink(temporary, dir_fd=parent)


def rename(old: Spot, new: Spot) -> None:
    """Give something another name, or another directory of the same mount. Raises AlreadyExistsError."""
    with old.parent() as source, new.parent() as target:
        if _stat(target, new.name) is not None:  # libfuse 2 has no RENAME_NOREPLACE
            raise AlreadyExistsError(f"'{new}' exists", "nothing is replaced by renaming", "delete it first")
        os.rename(old.name, new.name, src_dir_fd=source, dst_dir_fd=target)


def delete(spot: Spot) -> None:
    """Delete a file, a link, or a directory with all that is in it."""
    with spot.parent() as parent:
        found = os.stat(spot.name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(spot.name, dir_fd=parent)
            return
        for _, directories, files, descriptor in os.fwalk(spot.name, topdown=False, dir_fd=parent, onerror=_raise):
            for name in (*directories, *files):
                is_directory = stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode)
                (os.rmdir if is_directory else os.unlink)(name, dir_fd=descriptor)
        os.rmdir(spot.name, dir_fd=parent)


def temporary_name() -> bytes:
    """Of a file that will take another's place: a pattern that is never committed (`*~`)."""
    return b".pachmount-%s~" % secrets.token_hex(8).encode()


def _write_new(parent: int, name: bytes, content: bytes, like: os.stat_result | None = None) -> None:
    """Write a file that is not there yet, with the mode of another; nothing is left of it on failure."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW
    descriptor = os.open(name, flags, FILE_MODE, dir_fd=parent)
    try:
        with open(descriptor, "wb") as file:
            if like is not None and stat.S_ISREG(like.st_mode):
                os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
            file.write(content)
    except BaseException:
        os.unlink(name, dir_fd=parent)
        raise


def _put_in_place(parent: int, temporary: bytes, name: bytes) -> None:
    try:
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        os.unlink(temporary, dir_fd=parent)
        raise


def _stat(parent: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _refuse_directory(spot: Spot, found: os.stat_result | None) -> None:
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise AlreadyExistsError(f"'{spot}' is a directory", "a file cannot take its place")


def _raise(error: OSError) -> None:
    raise error


@contextlib.contextmanager
def _explained(spot: Spot) -> Iterator[None]:
    """Turn an OSError about a spot into one of ours."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise _KINDS.get(error.errno or 0, PachmountError)(f"cannot change '{spot}'", why) from error
