"""Attributes of what is in a staged tree: those of a path, or of an open file that may have no path any more."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pachmount.overlay.changes import Changes
from pachmount.overlay.inodes import File, Inode, Special, Symlink
from pachmount.overlay.names import BaseNode, Facts, Found
from pachmount.overlay.standing import CommittableTree
from pachmount.overlay.tree import DIRECTORY_MODE, FILE_MODE
from pachmount.overlay.tree import system_error as _error

MAX_XATTRS = 64 << 10
"""Bytes of names and values of the extended attributes of one object, as Linux has it."""
XATTR_CREATE, XATTR_REPLACE = 1, 2


class Attributes(NamedTuple):
    """What `stat` says; times in nanoseconds since the epoch."""

    number: int
    mode: int
    links: int
    uid: int
    gid: int
    size: int
    atime: int
    mtime: int
    ctime: int
    stored: int = 0
    """Bytes that are not holes."""
    device: int = 0


@dataclass(eq=False)
class Handle:
    """An open file."""

    file: File
    flags: int
    is_flushed: bool = False

    @property
    def is_writable(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_RDONLY


class AttributedTree(CommittableTree):
    """A staged tree whose attributes can be read and set. Every operation raises OSError as Linux does."""

    def attributes(self, where: bytes | Handle) -> Attributes:
        return self._look(lambda facts: self._describe(self._at(where, facts)))

    def chmod(self, where: bytes | Handle, mode: int) -> None:
        self._set(where, lambda inode: {"mode": stat.S_IFMT(inode.mode) | (mode & 0o7777)})

    def chown(self, where: bytes | Handle, uid: int, gid: int) -> None:
        """-1 leaves one of them as it is."""
        self._set(
            where,
            lambda inode: {"uid": inode.uid if uid == -1 else uid, "gid": inode.gid if gid == -1 else gid},
        )

    def utimens(self, where: bytes | Handle, atime: int | None, mtime: int | None) -> None:
        """Nanoseconds; None leaves one of them as it is."""
        times = {"atime": atime, "mtime": mtime}
        self._set(where, lambda _inode: {name: value for name, value in times.items() if value is not None})

    def xattrs(self, where: bytes | Handle) -> dict[str, bytes]:
        """The extended attributes that were set here."""
        found = self._look(lambda facts: self._at(where, facts))
        return {} if isinstance(found, BaseNode) else dict(found.xattrs)

    def set_xattr(self, where: bytes | Handle, name: str, value: bytes, flags: int) -> None:
        def other(inode: Inode) -> dict[str, Any]:
            if flags & XATTR_CREATE and name in inode.xattrs:
                raise _error(errno.EEXIST)
            if flags & XATTR_REPLACE and name not in inode.xattrs:
                raise _error(errno.ENODATA)
            after = {**inode.xattrs, name: value}
            if sum(len(key.encode()) + len(data) for key, data in after.items()) > MAX_XATTRS:
                raise _error(errno.ENOSPC)
            return {"xattrs": after}

        self._set(where, other)

    def remove_xattr(self, where: bytes | Handle, name: str) -> None:
        def other(inode: Inode) -> dict[str, Any]:
            if name not in inode.xattrs:
                raise _error(errno.ENODATA)
            return {"xattrs": {key: value for key, value in inode.xattrs.items() if key != name}}

        self._set(where, other)

    # --- the lock is held in what is called below, but for _set

    def _set(self, where: bytes | Handle, attributes: Callable[[Inode], dict[str, Any]]) -> None:
        def change(facts: Facts, changes: Changes) -> None:
            inode = where.file if isinstance(where, Handle) else self._staged(where, facts, changes)
            changes.set(inode, **attributes(inode), ctime=time.time_ns())

        self._change(change)

    def _describe(self, found: Found) -> Attributes:
        if isinstance(found, BaseNode):
            path, node = found
            now = int(self.base.time * 1e9)
            mode, links = (stat.S_IFDIR | DIRECTORY_MODE, 2) if node.is_dir else (stat.S_IFREG | FILE_MODE, 1)
            return Attributes(self.base.inode(path), mode, links, *self._owner, node.size, now, now, now, node.size)
        size = stored = 0
        device = found.device if isinstance(found, Special) else 0
        if isinstance(found, File):
            size = found.size
            stored = min(size, found.base_size + found.extents.size)
        elif isinstance(found, Symlink):
            size = len(found.target)
        return Attributes(
            *(found.number, found.mode, found.links, found.uid, found.gid, size, found.atime, found.mtime, found.ctime),
            *(stored, device),
        )

    def _at(self, where: bytes | Handle, facts: Facts) -> Found:
        return where.file if isinstance(where, Handle) else self._need(where, facts)
