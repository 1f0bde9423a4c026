"""Telling the kernel of names that changed without it: a commit of others has something else there."""

from __future__ import annotations

import errno
import logging
import os
import struct
import threading
from collections.abc import Iterable

log = logging.getLogger(__name__)

ROOT_NODE = 1
_FORGET_ENTRY = 3
"""FUSE_NOTIFY_INVAL_ENTRY, in the place of the error of a reply to nothing (linux/fuse.h)."""
_HEAD = struct.Struct("<IiQ")
_ENTRY = struct.Struct("<QII")


class KernelNames:
    """The names that the kernel remembers of a session. Thread-safe.

    libfuse 2 has a call for this as well, on a channel that it frees when the session ends, whoever may be using it.
    """

    def __init__(self, device: int) -> None:
        """`device`: the descriptor of /dev/fuse of the session, which is duplicated."""
        self._lock = threading.Lock()
        self._device: int | None = os.dup(device)

    def forget(self, names: Iterable[bytes]) -> None:
        """Let the kernel ask again for names in the root, and for all below them.

        Call it without a lock that an operation on files may wait for: the kernel waits for those in the root.
        """
        for name in names:
            body = _ENTRY.pack(ROOT_NODE, len(name), 0) + name + b"\0"
            with self._lock:
                if self._device is None:
                    return
                try:
                    os.write(self._device, _HEAD.pack(_HEAD.size + len(body), _FORGET_ENTRY, 0) + body)
                except OSError as error:
                    if error.errno != errno.ENOENT:  # the kernel does not remember that name
                        log.info("the kernel does not forget names: %s", error)
                        return

    def close(self) -> None:
        with self._lock:
            device, self._device = self._device, None
        if device is not None:
            os.close(device)
