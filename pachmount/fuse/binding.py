"""The tuned binding to libfuse, over the structures that fusepy or mfusepy declares (spec: fuse.md sections 2 and 4.2).

What is different from stock fusepy, each measured there: errors never leave a callback as garbage; a libfuse thread
keeps its Python thread state; unused callbacks are not installed, so that the kernel stops asking; `open` answers
ENOSYS, so that the kernel keeps its page cache over opens; attributes are copied as one prepared structure.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import stat
import threading
from collections.abc import Callable
from ctypes import byref, memmove, sizeof
from functools import partial
from time import perf_counter_ns
from typing import Any

from pachmount.cache.pages import address_of
from pachmount.errors import PachmountError, UnreachableError
from pachmount.fuse import handshake, library
from pachmount.fuse.libfuse3 import Libfuse3Calls
from pachmount.fuse.retries import KernelRetries
from pachmount.fuse.traced import traced
from pachmount.vfs.statistics import MountStatistics
from pachmount.vfs.tree import Node
from pachmount.vfs.view import CommitView

log = logging.getLogger(__name__)

fuse = library.load()
libfuse = fuse
"""fusepy or mfusepy, for the operations of read-write mounts."""

BLOCK_SIZE_HINT = 1 << 20
"""st_blksize of all but small files: tools read in pieces of this size."""
SMALL_FILE = 64 << 10
SMALL_BLOCK_SIZE_HINT = 4096
"""Python allocates a buffer of st_blksize at each open: with 1 MiB that takes longer than to read a small file."""
MAX_PINNED_THREADS = 256
"""libfuse threads whose Python state is kept; each one that ends leaks about 5 KB."""
NAME_MAX = 255
TIMED_LOOKUPS = 1000
"""So many look-ups are timed one by one; after them, those that are answered from memory only as a sample."""
SAMPLE = 16
"""One look-up in so many is timed then: timing each would cost a tenth of it."""
STATFS_BLOCK = 4096

_thread = threading.local()
_pinned = 0


def _pin_thread() -> None:
    """Keep the Python state of a libfuse thread between callbacks, instead of making a new one for each."""
    global _pinned
    if _pinned < MAX_PINNED_THREADS:
        _pinned += 1
        ctypes.pythonapi.PyGILState_Ensure()
    _thread.pinned = True


class FailureAnswers:
    """What operations answer when they fail: one place for both kinds of mounts."""

    _view: CommitView
    statistics: MountStatistics
    _logged: set[type[BaseException]]

    def failed(self, error: BaseException) -> int:
        """The negative errno that stands for an exception; the first of each unforeseen class is logged whole."""
        number = error.errno if isinstance(error, PachmountError | OSError) else None
        self.statistics.failed(number or errno.EIO)
        if number:
            return -number
        if type(error) not in self._logged:
            self._logged.add(type(error))
            log.error("unforeseen error in a file operation on %s", self._view.source, exc_info=error)
        return -errno.EIO


class ReadOnlyOperations(FailureAnswers):
    """The callbacks of a read-only mount of one commit, on raw bytes paths, answering from a CommitView.

    One that is missing here is not installed, and the kernel stops asking for it.
    """

    def __init__(self, view: CommitView, on_ready: Callable[[], None]) -> None:
        self._view = view
        self.statistics = view.statistics
        self._quick = False
        self._on_ready = on_ready
        self._file = self._template(stat.S_IFREG | 0o444, 1)
        self._directory = self._template(stat.S_IFDIR | 0o555, 2)
        self._logged: set[type[BaseException]] = set()
        self._retries = KernelRetries()

    def _template(self, mode: int, links: int) -> bytes:
        attributes = fuse.c_stat()
        attributes.st_mode, attributes.st_nlink = mode, links
        attributes.st_uid, attributes.st_gid = self._view.owner
        attributes.st_blksize = BLOCK_SIZE_HINT
        seconds = int(self._view.time)
        nanoseconds = int((self._view.time - seconds) * 1e9)
        for name in ("st_atimespec", "st_mtimespec", "st_ctimespec"):
            field = getattr(attributes, name)
            field.tv_sec, field.tv_nsec = seconds, nanoseconds
        return bytes(attributes)

    def attributes(self, path: bytes, node: Node) -> Any:
        """The `struct stat` of a node."""
        found = fuse.c_stat.from_buffer_copy(self._directory if node.is_dir else self._file)
        found.st_ino = self._view.inode(path)
        if not node.is_dir:
            found.st_size = node.size
            if node.size <= SMALL_FILE:
                found.st_blksize = SMALL_BLOCK_SIZE_HINT
            found.st_blocks = -(-node.size // 512)
        return found

    def init(self, _path: str) -> None:
        self._on_ready()

    def getattr(self, path: bytes, buf: Any) -> int:
        number = self.statistics.lookups = self.statistics.lookups + 1
        if self._quick and number % SAMPLE:
            return self._getattr(path, buf)
        weight = SAMPLE if self._quick else 1
        started = perf_counter_ns()
        try:
            return self._getattr(path, buf)
        finally:
            self.statistics.lookup_times.record(perf_counter_ns() - started, weight)
            self._quick = number >= TIMED_LOOKUPS and self._view.tree.listing is not None

    def _getattr(self, path: bytes, buf: Any) -> int:
        node = self._view.find(path)
        if node is None:
            self.statistics.missing += 1
            return -errno.ENAMETOOLONG if len(path) - path.rindex(b"/") - 1 > NAME_MAX else -errno.ENOENT
        memmove(buf, byref(self.attributes(path, node)), sizeof(fuse.c_stat))
        return 0

    def readdir(self, path: bytes, buf: Any, filler: Any) -> int:
        started = perf_counter_ns()
        try:
            return self._readdir(path, buf, filler)
        finally:
            self.statistics.readdirs.record(perf_counter_ns() - started)

    def _readdir(self, path: bytes, buf: Any, filler: Any) -> int:
        entry = fuse.c_stat()
        pointer = byref(entry)
        entry.st_ino, entry.st_mode = self._view.inode(path), stat.S_IFDIR
        filler(buf, b".", pointer, 0)
        filler(buf, b"..", None, 0)
        prefix = b"/" if path == b"/" else path + b"/"
        for name, is_dir in self._view.children(path):
            entry.st_ino = self._view.inode(prefix + name)
            entry.st_mode = stat.S_IFDIR if is_dir else stat.S_IFREG
            if filler(buf, name, pointer, 0):
                return -errno.ENOMEM
        return 0

    def open(self) -> int:
        """Never an error: it tells the kernel that this file system needs no open (fuse.md section 4.3)."""
        return -errno.ENOSYS

    def read(self, path: bytes, buf: Any, size: int, offset: int) -> int:
        started = perf_counter_ns()
        try:
            if self._retries.has_any:
                self._retries.refuse(path, offset, size)
            data = self._view.read(path, offset, size)
            source = address_of(data) if isinstance(data, memoryview) else data
            memmove(buf, source, len(data))
            return len(data)
        except UnreachableError as error:
            self._retries.note(path, offset, size, started, error)
            raise
        finally:
            self.statistics.reads.record(perf_counter_ns() - started)

    def statfs(self, buf: Any) -> int:
        self.statistics.statfs += 1
        listing = self._view.tree.listing
        result = buf.contents
        result.f_bsize = result.f_frsize = STATFS_BLOCK
        result.f_namemax = NAME_MAX
        if listing is not None:
            result.f_blocks = -(-listing.total_bytes // STATFS_BLOCK)
            result.f_files = len(listing)
        return 0

    def getxattr(self, path: bytes, name: bytes, value: Any, size: int) -> int:
        """Only `user.*` is supported: `ls -l` asks for two others a file, and stops where the answer is EOPNOTSUPP."""
        self.statistics.xattrs += 1
        if not name.startswith(b"user."):
            return -errno.EOPNOTSUPP
        found = self._view.xattrs(path).get(name.decode())
        return -errno.ENODATA if found is None else fill(value, size, found)

    def listxattr(self, path: bytes, value: Any, size: int) -> int:
        self.statistics.xattrs += 1
        return fill(value, size, b"".join(name.encode() + b"\0" for name in self._view.xattrs(path)))


def fill(buffer: Any, size: int, data: bytes) -> int:
    """Answer an extended attribute call: its size when asked for that, ERANGE when it does not fit."""
    if size == 0:
        return len(data)
    if len(data) > size:
        return -errno.ERANGE
    memmove(buffer, data, len(data))
    return len(data)


Options = dict[str, str | int | bool]
"""Those of `-o`: a flag that is False is left out."""
_OPERATION = {"ftruncate": "truncate", "fgetattr": "getattr"}
"""Callbacks that are installed with another one."""


class ReadOnlySession:
    """libfuse's callbacks, which pass raw arguments on to the operations and turn every exception into an errno."""

    operations: ReadOnlyOperations

    def __init__(self, operations: Any) -> None:
        self.operations = operations

    def run(self, mountpoint: str, options: Options) -> None:
        """Mount and answer the kernel until the mount goes away; RuntimeError if libfuse refuses to mount."""
        minor = library.minor_of_libfuse3(fuse)
        newer = None if minor is None else Libfuse3Calls(self, options, minor)
        table = fuse.fuse_operations()
        for name, kind, *_bits in table._fields_:
            operation = getattr(self.operations, _OPERATION.get(name, name), None)
            if operation is None:
                continue
            if hasattr(kind, "argtypes"):
                function = getattr(newer, name, None) or getattr(self, name)
                operation = kind(partial(self._wrapper, function))
            setattr(table, name, operation)
        flags = ",".join(_flags(options if newer is None else newer.options))
        arguments = [b"pachmount", b"-f", b"-o", flags.encode(), os.fsencode(mountpoint)]
        argv = (ctypes.c_char_p * len(arguments))(*arguments)
        code = fuse._libfuse.fuse_main_real(len(arguments), argv, byref(table), sizeof(table), None)
        if code:
            raise RuntimeError(code)

    def _wrapper(self, function: Callable[..., int | None], *args: Any) -> int:
        try:
            _thread.pinned  # noqa: B018 (the attribute exists in threads that were seen before)
        except AttributeError:
            _pin_thread()
        trace = self.operations.statistics.trace
        if trace is not None:
            return traced(trace, self.operations, function, args)
        try:
            return function(*args) or 0
        except BaseException as error:  # noqa: BLE001 (nothing may leave a callback: libfuse would read garbage)
            return self.operations.failed(error)

    def init(self, connection: int) -> None:
        handshake.allow_big_reads(fuse._libfuse, connection)
        self.operations.init("/")

    def getattr(self, path: bytes, buf: Any) -> int:
        return self.operations.getattr(path, buf)

    def fgetattr(self, path: bytes, buf: Any, _info: Any) -> int:
        return self.operations.getattr(path, buf)

    def readdir(self, path: bytes, buf: Any, filler: Any, _offset: int, _info: Any) -> int:
        return self.operations.readdir(path, buf, filler)

    def open(self, _path: bytes, _info: Any) -> int:
        return self.operations.open()

    def read(self, path: bytes, buf: Any, size: int, offset: int, _info: Any) -> int:
        return self.operations.read(path, buf, size, offset)

    def statfs(self, _path: bytes, buf: Any) -> int:
        return self.operations.statfs(buf)

    def getxattr(self, path: bytes, name: bytes, value: Any, size: int, *_args: Any) -> int:
        return self.operations.getxattr(path, name, value, size)

    def listxattr(self, path: bytes, value: Any, size: int) -> int:
        return self.operations.listxattr(path, value, size)


def _flags(options: Options) -> list[str]:
    return [name if value is True else f"{name}={value}" for name, value in options.items() if value is not False]


def serve(operations: Any, mountpoint: str, options: Options, session: type[Any] = ReadOnlySession) -> None:
    """Mount and answer the kernel until the mount goes away; RuntimeError if libfuse refuses to mount.

    Must run in a thread that is not the main one: libfuse takes over signals there.
    """
    session(operations).run(mountpoint, options)
