"""The callbacks of a read-write mount: an overlay's operations in the terms of libfuse."""

from __future__ import annotations

import ctypes
import errno
import itertools
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from ctypes import byref, memmove, sizeof
from time import perf_counter_ns
from typing import Any

from pachmount.cache.pages import address_of
from pachmount.errors import UnreachableError
from pachmount.fuse import binding, handshake
from pachmount.fuse.notify import KernelNames
from pachmount.fuse.retries import KernelRetries
from pachmount.overlay.attributes import Attributes, Handle
from pachmount.overlay.overlay import Overlay
from pachmount.overlay.tree import Owner
from pachmount.vfs.view import CommitView

log = logging.getLogger(__name__)

_HIDDEN = re.compile(rb".*/(\.fuse_hidden[0-9a-f]{16})", re.DOTALL)
"""What libfuse renames a file to that is deleted while open, so that it can ask for it by path."""
_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
_SECOND = 10**9
_UNCHANGED_ID = (1 << 32) - 1
"""What `chown` passes for an id that stays."""


class ReadWriteOperations(binding.FailureAnswers):
    """The callbacks of a read-write mount: one that is missing here is not installed.

    A file that is deleted while open is deleted in the overlay, whatever libfuse believes: see `_HIDDEN`.
    """

    flag_nullpath_ok = 1
    flag_utime_omit_ok = 1

    def __init__(self, view: CommitView, overlay: Overlay, on_ready: Callable[[], None]) -> None:
        self._view = view
        self._overlay = overlay
        self.statistics = view.statistics
        self._on_ready = on_ready
        self._handles: dict[int, Handle] = {}
        self._hidden: dict[bytes, Handle] = {}
        self._numbers = itertools.count(1)
        self._logged: set[type[BaseException]] = set()
        self._retries = KernelRetries()
        self._kernel_names: KernelNames | None = None

    def init(self, _path: str) -> None:
        self._kernel_names = KernelNames(handshake.device(binding.libfuse._libfuse))
        self._on_ready()

    def forget(self, paths: Iterable[bytes]) -> None:
        """Other things are at some paths now, and not by an operation of the kernel; call it without a lock."""
        if self._kernel_names is not None:
            self._kernel_names.forget({path.split(b"/", 2)[1] for path in paths if path != b"/"})

    def close(self) -> None:
        """The session is over."""
        if self._kernel_names is not None:
            self._kernel_names.close()

    # --- looking

    def getattr(self, path: bytes, buf: Any, info: Any = None) -> int:
        self.statistics.lookups += 1
        started = perf_counter_ns()
        try:
            found = self._overlay.attributes(self._where(path, info))
        finally:
            self.statistics.lookup_times.record(perf_counter_ns() - started)
        memmove(buf, byref(_stat(found)), sizeof(binding.libfuse.c_stat))
        return 0

    def readdir(self, path: bytes, buf: Any, filler: Any) -> int:
        started = perf_counter_ns()
        entry = binding.libfuse.c_stat()
        pointer = byref(entry)
        for name, kind, number in [(b".", stat.S_IFDIR, 0), (b"..", stat.S_IFDIR, 0), *self._overlay.listdir(path)]:
            entry.st_ino, entry.st_mode = number, kind
            if filler(buf, name, pointer, 0):
                return -errno.ENOMEM
        self.statistics.readdirs.record(perf_counter_ns() - started)
        return 0

    def readlink(self, path: bytes, buf: Any, size: int) -> int:
        target = self._overlay.readlink(path)[: size - 1] + b"\0"
        memmove(buf, target, len(target))
        return 0

    def statfs(self, buf: Any) -> int:
        """The staging disk's numbers, less what the limit of this mount forbids."""
        self.statistics.statfs += 1
        disk, budget = self._overlay.disk(), self._overlay.bytes.budget
        left = max(0, budget.limit - budget.used) // disk.f_frsize
        result = buf.contents
        result.f_bsize, result.f_frsize, result.f_namemax = disk.f_bsize, disk.f_frsize, binding.NAME_MAX
        result.f_blocks, result.f_files = disk.f_blocks, disk.f_files
        result.f_bfree, result.f_bavail = min(disk.f_bfree, left), min(disk.f_bavail, left)
        result.f_ffree = result.f_favail = disk.f_ffree
        return 0

    # --- files

    def open(self, path: bytes, info: Any) -> int:
        return self._opened(self._overlay.open(path, info.contents.flags), info)

    def create(self, path: bytes, mode: int, info: Any) -> int:
        return self._opened(self._overlay.create(path, mode, info.contents.flags, _caller()), info)

    def mknod(self, path: bytes, mode: int, device: int) -> int:
        if stat.S_IFMT(mode) in (0, stat.S_IFREG):
            self._overlay.release(self._overlay.create(path, mode, os.O_WRONLY | os.O_EXCL, _caller()))
        else:
            self._overlay.make_special(path, mode, device, _caller())
        return 0

    def read(self, buf: Any, size: int, offset: int, info: Any) -> int:
        started = perf_counter_ns()
        handle = self._handle(info)
        if self._retries.has_any:
            self._retries.refuse(handle, offset, size)
        try:
            data = self._overlay.read(handle, offset, size)
        except UnreachableError as error:
            self._retries.note(handle, offset, size, started, error)
            raise
        memmove(buf, address_of(data) if isinstance(data, memoryview) else data, len(data))
        self.statistics.reads.record(perf_counter_ns() - started)
        self.statistics.read_bytes += len(data)
        return len(data)

    def write(self, buf: Any, size: int, offset: int, info: Any) -> int:
        return self._overlay.write(self._handle(info), offset, ctypes.string_at(buf, size))

    def truncate(self, path: bytes, size: int) -> int:
        self._overlay.truncate(path, size)
        return 0

    def ftruncate(self, size: int, info: Any) -> int:
        self._overlay.resize(self._handle(info), size)
        return 0

    def fallocate(self, mode: int, offset: int, size: int, info: Any) -> int:
        self._overlay.allocate(self._handle(info), mode, offset, size)
        return 0

    def flush(self, info: Any) -> int:
        self._overlay.flush(self._handle(info))
        return 0

    def fsync(self, info: Any) -> int:
        self._overlay.sync(self._handle(info))
        return 0

    def fsyncdir(self) -> int:
        self._overlay.sync_names()
        return 0

    def release(self, info: Any) -> int:
        self._overlay.release(self._handles.pop(info.contents.fh))
        return 0

    # --- names

    def mkdir(self, path: bytes, mode: int) -> int:
        self._overlay.mkdir(path, mode, _caller())
        return 0

    def symlink(self, target: bytes, path: bytes) -> int:
        self._overlay.symlink(target, path, _caller())
        return 0

    def link(self, old: bytes, new: bytes) -> int:
        self._overlay.link(old, new)
        return 0

    def unlink(self, path: bytes) -> int:
        name = _hidden_name(path)
        if name in self._hidden:
            self._overlay.release(self._hidden.pop(name))
        else:
            self._overlay.unlink(path)
        return 0

    def rmdir(self, path: bytes) -> int:
        self._overlay.rmdir(path)
        return 0

    def rename(self, old: bytes, new: bytes) -> int:
        name = _hidden_name(new)
        if name:
            handle = self._overlay.open(old, os.O_RDONLY)
            try:
                self._overlay.unlink(old)
            except BaseException:
                self._overlay.release(handle)
                raise
            self._hidden[name] = handle
        else:
            self._overlay.rename(old, new)
        return 0

    # --- attributes

    def chmod(self, path: bytes, mode: int, info: Any = None) -> int:
        self._overlay.chmod(self._where(path, info), mode)
        return 0

    def chown(self, path: bytes, uid: int, gid: int, info: Any = None) -> int:
        ids = (-1 if number == _UNCHANGED_ID else number for number in (uid, gid))
        self._overlay.chown(self._where(path, info), *ids)
        return 0

    def utimens(self, path: bytes, times: Any, info: Any = None) -> int:
        now = time.time_ns()
        if times:
            atime, mtime = (_nanoseconds(each, now) for each in (times.contents.actime, times.contents.modtime))
        else:
            atime = mtime = now
        self._overlay.utimens(self._where(path, info), atime, mtime)
        return 0

    def getxattr(self, path: bytes, name: bytes, value: Any, size: int) -> int:
        self.statistics.xattrs += 1
        if not name.startswith(b"user."):
            return -errno.EOPNOTSUPP
        found = self._overlay.xattrs(self._where(path)).get(os.fsdecode(name))
        return -errno.ENODATA if found is None else binding.fill(value, size, found)

    def listxattr(self, path: bytes, value: Any, size: int) -> int:
        self.statistics.xattrs += 1
        return binding.fill(
            value, size, b"".join(os.fsencode(name) + b"\0" for name in self._overlay.xattrs(self._where(path)))
        )

    def setxattr(self, path: bytes, name: bytes, value: Any, size: int, flags: int) -> int:
        if not name.startswith(b"user."):
            return -errno.EOPNOTSUPP
        self._overlay.set_xattr(self._where(path), os.fsdecode(name), ctypes.string_at(value, size), flags)
        return 0

    def removexattr(self, path: bytes, name: bytes) -> int:
        self._overlay.remove_xattr(self._where(path), os.fsdecode(name))
        return 0

    def _opened(self, handle: Handle, info: Any) -> int:
        number = next(self._numbers)
        self._handles[number] = handle
        info.contents.fh = number
        return 0

    def _where(self, path: bytes, info: Any = None) -> bytes | Handle:
        """`info`, where libfuse knows the file that the caller has open."""
        return self._handle(info) if info else self._hidden.get(_hidden_name(path), path)

    def _handle(self, info: Any) -> Handle:
        try:
            return self._handles[info.contents.fh]
        except KeyError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None


def _hidden_name(path: bytes) -> bytes:
    """The name that libfuse gave a file which was deleted while open; b"" if it is not one."""
    match = _HIDDEN.fullmatch(path)
    return match[1] if match else b""


def _caller() -> Owner:
    context = binding.libfuse._libfuse.fuse_get_context().contents
    return Owner(context.uid, context.gid)


def _nanoseconds(given: Any, now: int) -> int | None:
    if given.tv_nsec == _UTIME_OMIT:
        return None
    return now if given.tv_nsec == _UTIME_NOW else given.tv_sec * _SECOND + given.tv_nsec


def _stat(found: Attributes) -> Any:
    result = binding.libfuse.c_stat()
    result.st_ino, result.st_mode, result.st_nlink = found.number, found.mode, found.links
    result.st_uid, result.st_gid, result.st_size = found.uid, found.gid, found.size
    result.st_blocks, result.st_rdev = -(-found.stored // 512), found.device
    small = found.size <= binding.SMALL_FILE
    result.st_blksize = binding.SMALL_BLOCK_SIZE_HINT if small else binding.BLOCK_SIZE_HINT
    for name, value in (("st_atimespec", found.atime), ("st_mtimespec", found.mtime), ("st_ctimespec", found.ctime)):
        field = getattr(result, name)
        field.tv_sec, field.tv_nsec = divmod(value, _SECOND)
    return result


class WritableSession(binding.ReadOnlySession):
    """libfuse's callbacks for these operations, on raw arguments."""

    operations: ReadWriteOperations  # type: ignore[assignment]

    def getattr(self, path: bytes, buf: Any) -> int:
        return self.operations.getattr(path, buf)

    def fgetattr(self, path: bytes, buf: Any, info: Any) -> int:
        return self.operations.getattr(path, buf, info)

    def readlink(self, path: bytes, buf: Any, size: int) -> int:
        return self.operations.readlink(path, buf, size)

    def mknod(self, path: bytes, mode: int, device: int) -> int:
        return self.operations.mknod(path, mode, device)

    def mkdir(self, path: bytes, mode: int) -> int:
        return self.operations.mkdir(path, mode)

    def unlink(self, path: bytes) -> int:
        return self.operations.unlink(path)

    def rmdir(self, path: bytes) -> int:
        return self.operations.rmdir(path)

    def symlink(self, target: bytes, path: bytes) -> int:
        return self.operations.symlink(target, path)

    def rename(self, old: bytes, new: bytes) -> int:
        return self.operations.rename(old, new)

    def link(self, old: bytes, new: bytes) -> int:
        return self.operations.link(old, new)

    def chmod(self, path: bytes, mode: int, info: Any = None) -> int:
        return self.operations.chmod(path, mode, info)

    def chown(self, path: bytes, uid: int, gid: int, info: Any = None) -> int:
        return self.operations.chown(path, uid, gid, info)

    def truncate(self, path: bytes, size: int) -> int:
        return self.operations.truncate(path, size)

    def ftruncate(self, _path: bytes, size: int, info: Any) -> int:
        return self.operations.ftruncate(size, info)

    def open(self, path: bytes, info: Any) -> int:
        return self.operations.open(path, info)

    def create(self, path: bytes, mode: int, info: Any) -> int:
        return self.operations.create(path, mode, info)

    def read(self, _path: bytes, buf: Any, size: int, offset: int, info: Any) -> int:
        return self.operations.read(buf, size, offset, info)

    def write(self, _path: bytes, buf: Any, size: int, offset: int, info: Any) -> int:
        return self.operations.write(buf, size, offset, info)

    def fallocate(self, _path: bytes, mode: int, offset: int, size: int, info: Any) -> int:
        return self.operations.fallocate(mode, offset, size, info)

    def flush(self, _path: bytes, info: Any) -> int:
        return self.operations.flush(info)

    def release(self, _path: bytes, info: Any) -> int:
        return self.operations.release(info)

    def fsync(self, _path: bytes, _only_data: int, info: Any) -> int:
        return self.operations.fsync(info)

    def fsyncdir(self, _path: bytes, _only_data: int, _info: Any) -> int:
        return self.operations.fsyncdir()

    def utimens(self, path: bytes, times: Any, info: Any = None) -> int:
        return self.operations.utimens(path, times, info)

    def setxattr(self, path: bytes, name: bytes, value: Any, size: int, flags: int, *_args: Any) -> int:
        return self.operations.setxattr(path, name, value, size, flags)

    def removexattr(self, path: bytes, name: bytes) -> int:
        return self.operations.removexattr(path, name)
