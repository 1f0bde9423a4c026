"""Disk space that copies share with the cache: `checkout --link`.

The kernel compares a range of a copy with one of the cache, and if they are equal lets the copy refer to the cache's
bytes (FIDEDUPERANGE, ioctl_fideduperange(2): btrfs and XFS). So a copy never has other bytes than it was written with,
whatever becomes of the cache; what the cache drops stays as long as a copy has it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import struct
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

from pachmount.beneath import Spot
from pachmount.cache.blocks import BLOCK_BYTES
from pachmount.cache.disk import BIG_BYTES, DiskBlocks
from pachmount.errors import UsageError
from pachmount.reading import FileInfo

log = logging.getLogger(__name__)

_FIDEDUPERANGE = 0xC0189436
_REQUEST = struct.Struct("=QQHHIqQQiI")
"""struct file_dedupe_range with one struct file_dedupe_range_info."""
_CANNOT_SHARE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EINVAL, errno.EXDEV)
_PAGE = 4096
"""Ranges begin and end at blocks of the file system."""
_SETTLED_SECONDS = 0.5
"""Blocks that were fetched are on the cache's disk by then (`cache.blocks.BATCH_SECONDS`)."""
_LAST_SECONDS = 2.0
"""How long the last blocks are waited for."""
_POLL_SECONDS = 0.05


class _Copy(NamedTuple):
    spot: Spot
    digest: bytes
    size: int
    written: float


class Links:
    """Shares the blocks of copies with those of the cache. `add` may be called by several threads."""

    def __init__(self, blocks: DiskBlocks, directory: Path) -> None:
        """`directory`: where the copies will be. Raises UsageError if the file system cannot share, or the cache is
        on another one.
        """
        self._blocks = blocks
        self._waiting: deque[_Copy] = deque()
        self._lock = threading.Lock()
        self.shared_bytes = 0
        _check(blocks, directory)

    def add(self, file: FileInfo, spot: Spot) -> None:
        """Share the blocks of a copy that is complete, when the cache has had time to write them."""
        if file.size >= BIG_BYTES and file.hash.strip("0"):
            self._waiting.append(_Copy(spot, bytes.fromhex(file.hash), file.size, time.monotonic()))
        while copy := self._settled(_SETTLED_SECONDS):
            self._share(copy, 0)

    def finish(self) -> None:
        """Share what is left; the cache may still be writing its last blocks."""
        while copy := self._settled(0):
            self._share(copy, copy.written + _LAST_SECONDS)

    def _settled(self, age: float) -> _Copy | None:
        """The next copy, if it was complete `age` seconds ago."""
        with self._lock:
            if self._waiting and time.monotonic() >= self._waiting[0].written + age:
                return self._waiting.popleft()
        return None

    def _share(self, copy: _Copy, deadline: float) -> None:
        """Share all whole pages of the blocks that the cache has, or has by the deadline."""
        try:
            with open(copy.spot.open_file(os.O_RDWR), "r+b") as target:
                for number in range(-(-copy.size // BLOCK_BYTES)):
                    location = self._location(copy, number, deadline)
                    if location is not None:
                        self._share_block(*location, target.fileno(), number * BLOCK_BYTES)
        except OSError as error:  # it is a copy all the same; `shared_bytes` tells
            log.info("'%s' shares nothing more with the cache: %s", copy.spot, error)

    def _share_block(self, path: Path, offset: int, size: int, target: int, target_at: int) -> None:
        try:
            with open(path, "rb") as source:
                shared = _share_range(source.fileno(), offset, target, target_at, size)
        except FileNotFoundError:  # the cache has dropped it meanwhile
            return
        with self._lock:
            self.shared_bytes += shared

    def _location(self, copy: _Copy, number: int, deadline: float) -> tuple[Path, int, int] | None:
        while (found := self._blocks.locate((copy.digest, number))) is None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return found


def _share_range(source: int, source_at: int, target: int, target_at: int, size: int) -> int:
    """The bytes of the range that are shared now; 0 if the ranges differ. Raises OSError if it cannot be done."""
    shared, size = 0, size - size % _PAGE
    while shared < size and not source_at % _PAGE:
        request = bytearray(
            _REQUEST.pack(source_at + shared, size - shared, 1, 0, 0, target, target_at + shared, 0, 0, 0)
        )
        fcntl.ioctl(source, _FIDEDUPERANGE, request)
        *_, done, status, _ = _REQUEST.unpack(request)
        if status < 0:
            raise OSError(-status, os.strerror(-status))
        if status or not done:
            break
        shared += done
    return shared


def _check(blocks: DiskBlocks, directory: Path) -> None:
    """Try it, with a page in each directory. Raises UsageError, and OSError if nothing can be written there at all."""
    if not blocks.limit or not blocks.directory.is_dir():
        raise UsageError("cannot link to the cache", "there is no cache", "see 'pachmount cache info'")
    above = next(each for each in (directory, *directory.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=blocks.directory) as source, tempfile.TemporaryFile(dir=above) as target:
            for file in (source, target):
                file.write(bytes(_PAGE))
                file.flush()
            _share_range(source.fileno(), 0, target.fileno(), 0, _PAGE)
    except OSError as error:
        if error.errno not in _CANNOT_SHARE:
            raise
        another = error.errno == errno.EXDEV or os.stat(blocks.directory).st_dev != os.stat(above).st_dev
        why = "it is on another file system" if another else "the file system cannot share blocks"
        hint = "leave out --link, or have both on one btrfs or XFS (setting cache_dir)"
        raise UsageError(f"cannot link '{directory}' to the cache in '{blocks.directory}'", why, hint) from error
