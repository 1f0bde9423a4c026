"""Files below a directory that others may have touched: no path and no symbolic link leads out of it.

Each path is walked name by name with descriptors of directories (openat(2) with O_NOFOLLOW), at each operation anew, so
that a link that is put in the way meanwhile is an error as well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_PATH_BYTES = 64 << 10
"""A longer path is taken for damage: a cluster stores none."""
_NO_FOLLOW = os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class UnsafePathError(ValueError):
    """A path that may lead out of the directory that it is to be below."""


def checked(path: object) -> str:
    """A path that was read from a file or from the wire, if it is relative and stays below. Raises UnsafePathError."""
    if not isinstance(path, str):
        raise UnsafePathError(f"{type(path).__name__} in the place of a path")
    try:
        size = len(os.fsencode(path))
    except UnicodeEncodeError:
        raise UnsafePathError(f"the path {path[:100]!a} has characters that no file can have") from None
    if size > MAX_PATH_BYTES:
        raise UnsafePathError(f"a path of {size:,} bytes")
    if "\0" in path or any(name in ("", ".", "..") for name in path.split("/")):
        raise UnsafePathError(f"the path {path[:100]!a} may lead out of the directory")
    return path


@contextlib.contextmanager
def entered(top: int, names: Sequence[str] | Sequence[bytes], *, make: bool = False) -> Iterator[int]:
    """The directory below `top` that names lead to, as a descriptor (O_PATH). `make`: what is missing is made.

    Raises NotADirectoryError for a symbolic link on the way, and other OSError.
    """
    descriptor = os.dup(top)
    try:
        for name in names:
            try:
                below = os.open(name, _DIRECTORY | _NO_FOLLOW, dir_fd=descriptor)
            except FileNotFoundError:
                if not make:
                    raise
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=descriptor)
                below = os.open(name, _DIRECTORY | _NO_FOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


class Beneath:
    """A directory that is open. All methods raise OSError, and UnsafePathError for a path that `checked` refuses."""

    def __init__(self, directory: Path, descriptor: int | None = None) -> None:
        """`directory` itself may be reached through links: its user has named it. `descriptor`: it is open already."""
        self.directory = directory
        self.descriptor = os.open(directory, _DIRECTORY) if descriptor is None else descriptor

    def __enter__(self) -> Beneath:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self.descriptor)

    def at(self, path: str) -> Spot:
        """A place below."""
        return Spot(self, checked(path))

    def remove_tree(self, path: str) -> None:
        """Remove a directory with all that is in it; a link in it is removed, not followed."""
        pending = [checked(path)]
        while pending:
            spot, below = Spot(self, pending[-1]), []  # unchecked: the disk may hold what is longer than a path may be
            for name, mode in spot.entries():
                if stat.S_ISDIR(mode):
                    below.append(f"{spot.path}/{name}")
                else:
                    Spot(self, f"{spot.path}/{name}").unlink()
            if not below:
                spot.rmdir()
                pending.pop()
            pending += below


@dataclass(frozen=True)
class Spot:
    """A place below a directory, where something is or will be. All methods raise OSError."""

    top: Beneath
    path: str

    def __str__(self) -> str:
        return str(self.top.directory / self.path)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def beside(self, name: str) -> Spot:
        """Another name in the same directory."""
        above = self.path.rpartition("/")[0]
        return self.top.at(f"{above}/{name}" if above else name)

    @contextlib.contextmanager
    def parent(self, *, make: bool = False) -> Iterator[int]:
        """The directory that it is in, as a descriptor. `make`: directories that are missing are made."""
        with entered(self.top.descriptor, self.path.split("/")[:-1], make=make) as descriptor:
            yield descriptor

    def look(self) -> os.stat_result | None:
        """What is there; None for nothing, also if a directory on the way is missing, or is a file or link."""
        try:
            with self.parent() as parent:
                return os.stat(self.name, dir_fd=parent, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def open(self, flags: int, mode: int = 0o666, *, make: bool = False) -> int:
        """A descriptor of what is there. It does not wait for the other end of a pipe."""
        with self.parent(make=make) as parent:
            return os.open(self.name, flags | os.O_NONBLOCK | _NO_FOLLOW, mode, dir_fd=parent)

    def open_file(self, flags: int = os.O_RDONLY) -> int:
        """The same of a regular file. Raises OSError for anything else."""
        descriptor = self.open(flags)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is no regular file", str(self))
        return descriptor

    def entries(self) -> list[tuple[str, int]]:
        """The names in a directory, with their modes (0: gone meanwhile)."""
        descriptor = self.open(os.O_RDONLY | os.O_DIRECTORY)
        try:
            return [(name, _mode(name, descriptor)) for name in sorted(os.listdir(descriptor))]
        finally:
            os.close(descriptor)

    def mkdir(self) -> None:
        """Make a directory, and those above it, that are not there."""
        with entered(self.top.descriptor, self.path.split("/"), make=True):
            pass

    def unlink(self) -> None:
        with self.parent() as parent:
            os.unlink(self.name, dir_fd=parent)

    def rmdir(self) -> None:
        with self.parent() as parent:
            os.rmdir(self.name, dir_fd=parent)

    def rename(self, name: str) -> None:
        """Give it another name in the same directory; what had that name is replaced."""
        with self.parent() as parent:
            os.rename(self.name, name, src_dir_fd=parent, dst_dir_fd=parent)

    def move_aside(self, name: str) -> None:
        """The same for a file. Raises FileExistsError if the name is taken."""
        with self.parent() as parent:
            try:
                os.link(self.name, name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
            except OSError as error:
                if error.errno == errno.EEXIST or _mode(name, parent):
                    raise FileExistsError(errno.EEXIST, "the name is taken", name) from error
                os.rename(self.name, name, src_dir_fd=parent, dst_dir_fd=parent)  # a disk without hard links
            else:
                os.unlink(self.name, dir_fd=parent)

    def replace(self, content: bytes, temporary: str, mode: int = 0o666) -> None:
        """Put a file there in one step, durably. `temporary` begins the name of the new file beside it."""
        with self.parent() as parent:
            name = f"{temporary}.{secrets.token_hex(8)}.new"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW
            descriptor = os.open(name, flags, mode, dir_fd=parent)
            try:
                with open(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(name, self.name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=parent)
                raise
        self.sync_parent()

    def sync_parent(self) -> None:
        """Make the names in its directory survive a power loss."""
        with self.parent() as parent:
            descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _mode(name: str, directory: int) -> int:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0
