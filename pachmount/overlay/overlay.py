"""A writable tree: the objects of a commit with staged changes over them. File operations in terms of the system's.

Every operation raises OSError with the errno that Linux has for it, and what the commit's reader raises. Who may do
what is the kernel's business (`default_permissions`).
"""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import Any, NamedTuple

from pachmount.cache.pages import Block
from pachmount.overlay import names
from pachmount.overlay.attributes import AttributedTree, Handle
from pachmount.overlay.changes import Changes
from pachmount.overlay.inodes import Directory, File, Inode, Special, Symlink
from pachmount.overlay.names import Base, BaseNode, Facts, Found
from pachmount.overlay.tree import Owner
from pachmount.overlay.tree import system_error as _error

LINK_MODE = 0o777
MAX_TARGET = 4095
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10
"""Modes of `fallocate` (linux/falloc.h)."""


class StagedEntries(NamedTuple):
    """What a directory is made of at one moment: `entries` (None hides one) over those that the commit `base` has at
    `base_path`, if that is not None. `generation` is another one after each change of a name.
    """

    base: Base
    base_path: bytes | None
    entries: dict[bytes, Inode | None]
    generation: int


class Overlay(AttributedTree):
    """The operations of a file system. Thread-safe; no lock is held while the cluster is asked."""

    # --- looking

    def listdir(self, path: bytes) -> list[tuple[bytes, int, int]]:
        """Name, type (as in a mode) and inode number of all entries but `.` and `..`."""

        def entries(facts: Facts) -> list[tuple[bytes, int, int]]:
            found = self._need(path, facts)
            base = found.path if isinstance(found, BaseNode) else found.base or b""
            result = []
            for name, entry in names.children(found, facts).items():
                if isinstance(entry, Inode):
                    result.append((name, stat.S_IFMT(entry.mode), entry.number))
                else:
                    number = self.base.inode(base.rstrip(b"/") + b"/" + name)
                    result.append((name, stat.S_IFDIR if entry else stat.S_IFREG, number))
            return result

        return self._look(entries)

    def entries(self, path: bytes) -> StagedEntries:
        """What a directory is made of. Raises OSError."""

        def made_of(facts: Facts) -> StagedEntries:
            found = self._need(path, facts)
            if not names.is_directory(found):
                raise _error(errno.ENOTDIR)
            if isinstance(found, Directory):
                return StagedEntries(self.base, found.base, found.entries.copy(), self._generation)
            assert isinstance(found, BaseNode)  # noqa: S101  # for the type checker
            return StagedEntries(self.base, found.path, {}, self._generation)

        return self._look(made_of)

    def find(self, path: bytes) -> Found:
        """What is at a path: an inode, or an object of the commit as it is there. Raises OSError."""
        return self._look(lambda facts: self._need(path, facts))

    def readlink(self, path: bytes) -> bytes:
        found = self._look(lambda facts: self._need(path, facts))
        if not isinstance(found, Symlink):
            raise _error(errno.EINVAL)
        return found.target

    def disk(self) -> os.statvfs_result:
        """The numbers of the disk that staged bytes are on."""
        return os.statvfs(self._store.directory)

    # --- files

    def create(self, path: bytes, mode: int, flags: int, owner: Owner) -> Handle:
        """Open a file, made if there is none; EEXIST if there is one, with O_EXCL."""

        def make(facts: Facts, changes: Changes) -> Handle:
            found = names.resolve(self.root, path, facts)
            if found is None:
                where, name = self._place(path, facts, changes)
                file = File(**self._new(where, stat.S_IFREG | (mode & 0o7777), owner))
                file.data.sums.is_cut = False  # the store has nothing of it
                self._enter(changes, where, name, file)
                found = file
            elif flags & os.O_EXCL:
                raise _error(errno.EEXIST)
            else:
                found = self._to_open(path, flags, facts, changes)
            return self._open(found, flags)

        return self._cut_at_open(self._change(make))

    def open(self, path: bytes, flags: int) -> Handle:
        """Open a file that there is; EISDIR, ELOOP for what is none."""

        def found(facts: Facts, changes: Changes) -> Handle:
            return self._open(self._to_open(path, flags, facts, changes), flags)

        return self._cut_at_open(self._change(found))

    def read(self, handle: Handle, offset: int, size: int) -> Block:
        return self.bytes.read(handle.file, offset, size)

    def write(self, handle: Handle, offset: int, data: bytes) -> int:
        if not handle.is_writable:
            raise _error(errno.EBADF)
        self.closing.written(handle)
        return self.bytes.write(handle.file, offset, data)

    def truncate(self, path: bytes, size: int) -> None:
        handle = self.open(path, os.O_WRONLY)
        try:
            self.resize(handle, size)
        finally:
            self.release(handle)

    def resize(self, handle: Handle, size: int) -> None:
        """`ftruncate`."""
        if not handle.is_writable:
            raise _error(errno.EINVAL)
        with self._lock:
            self.bytes.resize(handle.file, size, lambda durable: self._keep(handle.file, durable=durable))

    def allocate(self, handle: Handle, mode: int, offset: int, size: int) -> None:
        """`fallocate`. No room is set aside: ENOSPC tells that there is none now."""
        if not handle.is_writable:
            raise _error(errno.EBADF)
        if mode not in (0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE):
            raise _error(errno.EOPNOTSUPP)
        zeros, grows = bool(mode & (PUNCH_HOLE | ZERO_RANGE)), not mode & KEEP_SIZE
        self.bytes.allocate(handle.file, offset, size, zeros=zeros, grows=grows)

    def flush(self, handle: Handle) -> None:
        """What was written survives the end of this process.

        And a power loss, if the program uses fsync: it may not expect that what it did not sync cannot be read then.
        """
        if not handle.is_writable:
            return
        self.closing.flushed(handle)
        self._keep(handle.file)
        if handle.file.data.is_careful and handle.file.data.is_unsynced:
            self.sync_files([handle.file])

    def sync(self, handle: Handle) -> None:
        """What was written survives a power loss."""
        self.sync_files([handle.file])
        handle.file.data.is_careful = True

    def sync_names(self) -> None:
        """All that was done to names so far survives a power loss."""
        with self._lock:
            self._store.apply([], durable=True)

    def release(self, handle: Handle) -> None:
        """The file was closed for the last time."""
        file = handle.file
        with self._lock:
            file.handles -= 1
            file.writers -= handle.is_writable
            self.closing.released(handle)
            if file.handles:
                return
            if file.base is not None and self._unchanged.get(file.base) is file:
                del self._unchanged[file.base]
            if file.links:
                try:
                    self._keep(file)
                finally:
                    self.bytes.release(file)
            else:
                self.bytes.forget(file)

    # --- names

    def mkdir(self, path: bytes, mode: int, owner: Owner) -> None:
        def make(facts: Facts, changes: Changes) -> None:
            where, name = self._free_place(path, facts, changes)
            mode_ = stat.S_IFDIR | (mode & 0o7777) | (where.mode & stat.S_ISGID)
            self._enter(changes, where, name, Directory(**self._new(where, mode_, owner)))

        self._change(make)

    def make_special(self, path: bytes, mode: int, device: int, owner: Owner) -> None:
        """A named pipe, socket or device."""

        def make(facts: Facts, changes: Changes) -> None:
            where, name = self._free_place(path, facts, changes)
            self._enter(changes, where, name, Special(**self._new(where, mode, owner), device=device))

        self._change(make)

    def symlink(self, target: bytes, path: bytes, owner: Owner) -> None:
        if len(target) > MAX_TARGET:
            raise _error(errno.ENAMETOOLONG)

        def make(facts: Facts, changes: Changes) -> None:
            where, name = self._free_place(path, facts, changes)
            link = Symlink(**self._new(where, stat.S_IFLNK | LINK_MODE, owner), target=target)
            self._enter(changes, where, name, link)

        self._change(make)

    def link(self, old: bytes, new: bytes) -> None:
        def make(facts: Facts, changes: Changes) -> None:
            found = self._need(old, facts)
            where, name = self._free_place(new, facts, changes)
            if names.is_directory(found):
                raise _error(errno.EPERM)
            inode = self._staged(old, facts, changes)
            changes.touch(inode, content=False)
            self._enter(changes, where, name, inode)

        self._change(make)

    def unlink(self, path: bytes) -> None:
        def remove(facts: Facts, changes: Changes) -> None:
            found = self._need(path, facts)
            if names.is_directory(found):
                raise _error(errno.EISDIR)
            where, name = self._place(path, facts, changes)
            self._leave(changes, where, name, facts)
            self._drop(changes, found)

        self._change(remove)

    def rmdir(self, path: bytes) -> None:
        def remove(facts: Facts, changes: Changes) -> None:
            found = self._need(path, facts)
            if not names.is_directory(found):
                raise _error(errno.ENOTDIR)
            if found is self.root:
                raise _error(errno.EBUSY)
            if names.children(found, facts):
                raise _error(errno.ENOTEMPTY)
            where, name = self._place(path, facts, changes)
            self._leave(changes, where, name, facts)
            self._drop(changes, found)

        self._change(remove)

    def rename(self, old: bytes, new: bytes) -> None:
        def move(facts: Facts, changes: Changes) -> None:
            source, target = names.parts(old), names.parts(new)
            for path in (source[:-1], target[:-1]):
                if not names.is_directory(self._need(b"/".join(path), facts)):
                    raise _error(errno.ENOTDIR)
            found, there = self._need(old, facts), names.resolve(self.root, new, facts)
            if not source or not target:
                raise _error(errno.EBUSY)
            if target[: len(source)] == source and len(target) > len(source):
                raise _error(errno.EINVAL)
            if source == target or (isinstance(found, Inode) and found is there):
                return
            if there is not None:
                self._check_replaceable(found, there, facts)
            inode = self._staged(old, facts, changes)
            from_, from_name = self._place(old, facts, changes)
            to, to_name = self._place(new, facts, changes)
            self._leave(changes, from_, from_name, facts)
            if there is not None:
                self._drop(changes, there)
            changes.set(inode, links=inode.links - 1)  # _enter counts the new name
            self._enter(changes, to, to_name, inode)
            changes.touch(inode, content=False)

        self._change(move)

    # --- the lock is held in what is called below, but for _cut_at_open

    def _check_replaceable(self, found: Found, there: Found, facts: Facts) -> None:
        """Whether `rename` may put one in the place of the other."""
        if names.is_directory(there):
            if not names.is_directory(found):
                raise _error(errno.EISDIR)
            if names.children(there, facts):
                raise _error(errno.ENOTEMPTY)
        elif names.is_directory(found):
            raise _error(errno.ENOTDIR)

    def _new(self, where: Directory, mode: int, owner: Owner) -> dict[str, Any]:
        """Attributes of an inode that is new in a directory, without a name yet."""
        now = time.time_ns()
        gid = where.gid if where.mode & stat.S_ISGID else owner.gid
        return {
            **self._numbered(),
            "mode": mode,
            "uid": owner.uid,
            "gid": gid,
            "atime": now,
            "mtime": now,
            "ctime": now,
            "links": 0,
        }

    def _to_open(self, path: bytes, flags: int, facts: Facts, changes: Changes) -> Found:
        """What is at a path; staged if it is a file that is about to be written."""
        found = self._need(path, facts)
        if names.is_directory(found):
            raise _error(errno.EISDIR)
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        return self._staged(path, facts, changes) if writable else found

    def _open(self, found: Found, flags: int) -> Handle:
        file = self._of_base(found) if isinstance(found, BaseNode) else found
        if not isinstance(file, File):
            raise _error(errno.ELOOP)
        if isinstance(found, BaseNode):
            self._unchanged[found.path] = file
        handle = Handle(file, flags)
        file.handles += 1
        file.writers += handle.is_writable
        return handle

    def _cut_at_open(self, handle: Handle) -> Handle:
        if handle.flags & os.O_TRUNC and handle.is_writable:
            try:
                self.resize(handle, 0)
            except BaseException:
                self.release(handle)
                raise
        return handle

    def _free_place(self, path: bytes, facts: Facts, changes: Changes) -> tuple[Directory, bytes]:
        if names.resolve(self.root, path, facts) is not None:
            raise _error(errno.EEXIST)
        return self._place(path, facts, changes)

    def _enter(self, changes: Changes, where: Directory, name: bytes, inode: Inode) -> None:
        """Give an inode a name (more)."""
        changes.set(inode, links=2 if inode.is_directory else inode.links + 1)
        changes.enter(where, name, inode)
        changes.touch(where)

    def _leave(self, changes: Changes, where: Directory, name: bytes, facts: Facts) -> None:
        """Take a name away; the inode keeps its count."""
        if names.base_child(where, name, facts) is None:
            changes.remove(where, name)
        else:
            changes.enter(where, name, None)
        changes.touch(where)
