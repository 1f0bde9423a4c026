"""What a read-write mount keeps of files, directories and symbolic links that were changed or made in it."""

from __future__ import annotations

import stat
import threading
from dataclasses import dataclass, field
from typing import Protocol

from pachmount.cache.pages import Block
from pachmount.overlay.extents import Extents
from pachmount.overlay.staged_bytes import StagedBytes

ROOT_ID = 1


class BaseReader(Protocol):
    """The bytes of a commit."""

    def read(self, path: bytes, offset: int, size: int) -> Block:
        """The bytes [offset, offset + size) of a file, fewer only at its end."""


@dataclass(eq=False)
class Inode:
    """Metadata of one object, whatever names it has. `id` names it in the store and is never used again.

    `base` is the path in the commit from which the content comes, None when nothing of it does. Times are nanoseconds
    since the epoch. `handles` counts open files; `links` names.
    """

    id: int
    number: int
    mode: int
    uid: int
    gid: int
    atime: int
    mtime: int
    ctime: int
    links: int = 1
    base: bytes | None = None
    xattrs: dict[str, bytes] = field(default_factory=dict)
    handles: int = 0

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


@dataclass(eq=False)
class File(Inode):
    """A regular file: the staged ranges over the first `base_size` bytes of the base, and zeros where there is neither.

    `lock` guards all of it. `dirty`: written to since it was last kept in the store. `version` counts the changes of
    the content in this process, `writers` the handles that may write. `descriptor`: of the staged bytes, open while the
    file is. `reader` has the bytes of `base`. `data` tells which staged bytes would survive a power loss.
    """

    size: int = 0
    base_size: int = 0
    extents: Extents = field(default_factory=Extents)
    dirty: bool = False
    version: int = 0
    writers: int = 0
    descriptor: int | None = None
    reader: BaseReader | None = field(default=None, repr=False)
    data: StagedBytes = field(default_factory=StagedBytes, repr=False)
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def is_appended_to(self) -> bool:
        """Whether all there is of the base is still the beginning of the file."""
        return next(self.extents.pieces(0, self.base_size), (0, self.base_size, False)) == (0, self.base_size, False)


@dataclass(eq=False)
class Directory(Inode):
    """A directory: its own entries, over those of its base. An entry that is None hides one of the base."""

    entries: dict[bytes, Inode | None] = field(default_factory=dict)


@dataclass(eq=False)
class Special(Inode):
    """A named pipe, socket or device, all of which are the kernel's business. `device` is its number, of a device."""

    device: int = 0


@dataclass(eq=False)
class Symlink(Inode):
    """A symbolic link, with the text it was made with."""

    target: bytes = b""
