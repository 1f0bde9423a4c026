"""Reads of 1 MiB with libfuse 2, which knows 128 KiB only: we answer the kernel's first request ourselves.

How large a read may be is agreed on in the answer to FUSE_INIT, in fields that libfuse 2 does not know (protocol 7.28,
Linux 4.20). libfuse calls `init` before it answers; what we write then is the answer, and libfuse's own comes too late,
which it takes for an interrupted request. Where the request is not the one we take it for, the kernel refuses our
answer, libfuse's counts, and reads stay small. A read of 1 GiB takes half the time so (docs/performance.md).
"""

from __future__ import annotations

import ctypes
import logging
import os
import struct

log = logging.getLogger(__name__)

READ_BYTES = 1 << 20
"""The most that a read asks for; the kernel's own limit unless root raised /proc/sys/fs/fuse/max_pages_limit."""
WRITE_BYTES = 128 << 10
"""libfuse receives requests in a buffer of 132 KiB."""
MAX_BACKGROUND = 64
CONGESTION_THRESHOLD = 48

_FIRST_REQUEST = 2
"""The kernel counts requests in steps of 2 since it knows of larger reads; before, the first was 1."""
_BIG_READS_SINCE = 7, 28
_LIBFUSE_PROTOCOL = 7, 19
_LIBFUSE_FLAGS = 0x47B
"""Those that mean the same to the kernel, of what libfuse wants from it."""
_PARALLEL_DIROPS = 1 << 18
_MAX_PAGES = 1 << 22
_REPLY_HEAD = struct.Struct("<IiQ")
_INIT_REPLY = struct.Struct("<IIIIHHIIHH32x")


class _Connection(ctypes.Structure):
    """libfuse 2's `struct fuse_conn_info`."""

    _fields_ = (
        ("proto_major", ctypes.c_uint),
        ("proto_minor", ctypes.c_uint),
        ("async_read", ctypes.c_uint),
        ("max_write", ctypes.c_uint),
        ("max_readahead", ctypes.c_uint),
        ("capable", ctypes.c_uint),
        ("want", ctypes.c_uint),
        ("max_background", ctypes.c_uint),
        ("congestion_threshold", ctypes.c_uint),
        ("reserved", ctypes.c_uint * 23),
    )


def allow_big_reads(libfuse: ctypes.CDLL, connection: int) -> None:
    """Answer FUSE_INIT; to be called in libfuse's `init`, with the `struct fuse_conn_info *` it was given."""
    offer = _Connection.from_address(connection)
    if (offer.proto_major, offer.proto_minor) < _BIG_READS_SINCE:
        return
    pages = READ_BYTES // os.sysconf("SC_PAGESIZE")
    flags = (offer.want & _LIBFUSE_FLAGS) | _PARALLEL_DIROPS | _MAX_PAGES
    limits = MAX_BACKGROUND, CONGESTION_THRESHOLD, WRITE_BYTES, 1, pages, 0
    body = _INIT_REPLY.pack(*_LIBFUSE_PROTOCOL, READ_BYTES, flags, *limits)
    head = _REPLY_HEAD.pack(_REPLY_HEAD.size + len(body), 0, _FIRST_REQUEST)
    try:
        os.write(device(libfuse), head + body)
    except OSError as error:
        log.info("reads stay small, the kernel did not take our answer: %s", error)


def device(libfuse: ctypes.CDLL) -> int:
    """The descriptor of /dev/fuse of the session that is being set up; for libfuse's `init`."""
    context = libfuse.fuse_get_context().contents
    libfuse.fuse_get_session.restype = ctypes.c_void_p
    session = ctypes.c_void_p(libfuse.fuse_get_session(ctypes.c_void_p(context.fuse)))
    descriptor: int
    if hasattr(libfuse, "fuse_session_fd"):  # libfuse 3
        descriptor = libfuse.fuse_session_fd(session)
    else:
        libfuse.fuse_session_next_chan.restype = ctypes.c_void_p
        channel = libfuse.fuse_session_next_chan(session, None)
        descriptor = libfuse.fuse_chan_fd(ctypes.c_void_p(channel))
    return descriptor
