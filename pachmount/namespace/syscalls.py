"""The system calls that Python does not have; each raises OSError. Only for processes with one thread."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_REMOUNT = 32
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_SLAVE = 1 << 19

MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAP_SYS_ADMIN = 21
_CAPABILITY_VERSION = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, path: str | None = None) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)


def unshare(flags: int) -> None:
    """Give this process namespaces of its own."""
    _check(_libc.unshare(ctypes.c_int(flags)))


def mount(source: str | Path, target: str | Path, fs_type: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    done = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        fs_type.encode() or None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _check(done, str(target))


def setns(descriptor: int, kind: int) -> None:
    """Go into the namespace of that kind that an open file of /proc/PID/ns stands for."""
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)))


def umount(target: str | Path, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(flags)), str(target))


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    """The lower 32 of each set, then the upper ones."""

    _fields_ = tuple(
        (f"{name}_{part}", ctypes.c_uint32) for part in (0, 1) for name in ("effective", "permitted", "inheritable")
    )


def let_programs_mount() -> None:
    """Let programs that we start mount, as we may, though they are not root."""
    header, sets = _CapabilityHeader(_CAPABILITY_VERSION, 0), _Capabilities()
    _check(_libc.capget(ctypes.byref(header), ctypes.byref(sets)))
    sets.inheritable_0 |= 1 << _CAP_SYS_ADMIN
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(sets)))
    _check(_libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_PR_CAP_AMBIENT_RAISE), ctypes.c_ulong(_CAP_SYS_ADMIN), 0, 0))


def let_programs_mount_no_more() -> None:
    """Take back what `let_programs_mount` gave."""
    _check(_libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0))


def signal_at_parents_end(number: int, parent: int) -> bool:
    """Have the kernel send this process a signal when its parent ends; False if process `parent` is gone already."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0))
    return os.getppid() == parent


def adopt_orphans() -> None:
    """Become the parent of all that our children leave running, instead of the machine's first process."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0))
