"""What libfuse 3 calls and takes differently from libfuse 2, in whose terms the callbacks are written."""

from __future__ import annotations

import errno
from typing import Any

from pachmount.fuse import handshake

_NO_OPTIONS = ("big_writes", "nonempty", "use_ino", "max_readahead", "max_background", "congestion_threshold")
"""Always so in libfuse 3, or told to it in `init`."""
_THREADS = 64
"""libfuse 3.12 and newer start no more than 10 otherwise, and each may wait for the cluster."""
_MAX_THREADS_SINCE = 12
_ATOMIC_O_TRUNC, _HANDLE_KILLPRIV = 1 << 3, 1 << 20
"""Wanted by libfuse 3 of itself: that `open` truncates, and that a write takes set-user-id bits away."""


class Libfuse3Calls:
    """The callbacks whose arguments changed; they pass on to those of a session."""

    def __init__(self, session: Any, options: dict[str, str | int | bool], minor: int) -> None:
        """`options` are libfuse 2's; `minor` is libfuse's own version."""
        self._session = session
        self.options = {name: value for name, value in options.items() if name not in _NO_OPTIONS}
        if minor >= _MAX_THREADS_SINCE:
            self.options["max_threads"] = _THREADS

    def init(self, connection: Any, config: Any) -> None:
        """libfuse 3 agrees on reads and writes of 1 MiB with the kernel itself."""
        config.contents.use_ino = 1
        limits = connection.contents
        limits.want &= ~(_ATOMIC_O_TRUNC | _HANDLE_KILLPRIV)
        limits.max_read = handshake.READ_BYTES  # must be that of the option
        limits.max_readahead = min(limits.max_readahead, handshake.READ_BYTES)
        limits.max_background = handshake.MAX_BACKGROUND
        limits.congestion_threshold = handshake.CONGESTION_THRESHOLD
        self._session.operations.init("/")

    def getattr(self, path: bytes, buf: Any, info: Any) -> int:
        session = self._session
        answer: int = session.fgetattr(path, buf, info) if info else session.getattr(path, buf)
        return answer

    def readdir(self, path: bytes, buf: Any, filler: Any, offset: int, info: Any, _flags: int) -> int:
        def fill(into: Any, name: bytes, attributes: Any, next_offset: int) -> int:
            full: int = filler(into, name, attributes, next_offset, 0)
            return full

        answer: int = self._session.readdir(path, buf, fill, offset, info)
        return answer

    def rename(self, old: bytes, new: bytes, flags: int) -> int:
        answer: int = -errno.EINVAL if flags else self._session.rename(old, new)
        return answer

    def truncate(self, path: bytes, size: int, info: Any) -> int:
        session = self._session
        answer: int = session.ftruncate(path, size, info) if info else session.truncate(path, size)
        return answer

    def chmod(self, path: bytes, mode: int, info: Any) -> int:
        answer: int = self._session.chmod(path, mode, info)
        return answer

    def chown(self, path: bytes, uid: int, gid: int, info: Any) -> int:
        answer: int = self._session.chown(path, uid, gid, info)
        return answer

    def utimens(self, path: bytes, times: Any, info: Any) -> int:
        answer: int = self._session.utimens(path, times, info)
        return answer
