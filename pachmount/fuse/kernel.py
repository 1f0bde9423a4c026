"""The kernel's side of mounts: the mount table, detaching, and replacing a mount without a gap.

Nothing here touches a path below a mount: a look into our own mount could wait for ourselves (fuse.md section 7).
"""

from __future__ import annotations

import ctypes
import errno
import functools
import logging
import os
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from pachmount.errors import BusyError, CannotMountError

log = logging.getLogger(__name__)

FS_TYPE = "fuse.pachmount"
FUSERMOUNT_SECONDS = 10

_CAP_SYS_ADMIN = 21
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_AT_FDCWD = -100
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_BENEATH = 0x200

_libc = ctypes.CDLL(None, use_errno=True)
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class KernelMount:
    """A line of /proc/self/mountinfo. `device` is "major:minor"."""

    mountpoint: str
    fs_type: str
    source: str
    device: str = ""


def mount_table() -> list[KernelMount]:
    """All mounts that this process sees, lower layers before those that cover them."""
    table = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split()
            tail = fields[fields.index("-", 6) + 1 :]
            table.append(KernelMount(_unescape(fields[4]), tail[0], _unescape(tail[1]), fields[2]))
    return table


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), text)


def our_mounts(below: Path) -> list[KernelMount]:
    """The pachmount mounts at or below a directory."""
    prefix = f"{below}/".replace("//", "/")
    return [m for m in mount_table() if m.fs_type == FS_TYPE and f"{m.mountpoint}/".startswith(prefix)]


def ours() -> frozenset[str]:
    """Where the kernel shows something of ours. One look for many mounts: the table grows with their number."""
    return frozenset(m.mountpoint for m in mount_table() if m.fs_type == FS_TYPE)


def layers(mountpoint: Path) -> list[KernelMount]:
    """What is mounted exactly at a directory, the uppermost last."""
    return [m for m in mount_table() if m.mountpoint == str(mountpoint)]


def set_read_ahead(mountpoint: Path, size: int) -> None:
    """Let the kernel read so many bytes ahead in what is mounted at a directory, where this process may say so.

    The kernel takes 128 KiB for every FUSE mount, whatever was agreed with it; changing that needs root and a /sys that
    can be written to. Without it, buffered reads come in pieces of 128 KiB: slower, nothing else.
    """
    stack = layers(mountpoint)
    if not stack or not may_mount():
        return
    try:
        Path(f"/sys/class/bdi/{stack[-1].device}/read_ahead_kb").write_text(str(size >> 10))
    except OSError as error:
        log.info("the kernel's read-ahead stays as it is: %s", error)


FUSE_CONF = Path("/etc/fuse.conf")


@functools.cache
def may_mount() -> bool:
    """Whether this process may mount and unmount without the help of fusermount: it has CAP_SYS_ADMIN."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
        effective = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> _CAP_SYS_ADMIN & 1)


def others_are_permitted(fuse_conf: Path | None = None) -> bool:
    """Whether other users may see our mounts: fusermount asks its settings, whoever needs none of it may decide."""
    if may_mount():
        return True
    fuse_conf = fuse_conf or FUSE_CONF
    lines = fuse_conf.read_text(errors="replace").splitlines() if fuse_conf.is_file() else []
    return "user_allow_other" in (line.strip() for line in lines)


def unmount(mountpoint: Path, *, lazy: bool) -> None:
    """Take away the uppermost mount at a directory.

    With `lazy` it disappears from the tree at once and lives on for whoever has files open; otherwise BusyError while
    it is in use.
    """
    if may_mount():
        flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)
        if _libc.umount2(os.fsencode(mountpoint), flags) == 0:
            return
        code = ctypes.get_errno()
        if code == errno.EBUSY:
            raise BusyError(f"'{mountpoint}' is in use", "a program has files or its working directory in it")
        raise CannotMountError(f"cannot unmount '{mountpoint}'", os.strerror(code))
    _fusermount(mountpoint, lazy=lazy)


def check_fuse() -> None:
    """Raise CannotMountError, saying what is missing, where this process cannot mount with FUSE."""
    device = "/dev/fuse"
    if not os.path.exists(device):
        hint = "load the kernel module (modprobe fuse), or give the container the device: --device /dev/fuse"
        raise CannotMountError("cannot mount with FUSE", f"{device} does not exist", hint)
    if not may_mount():
        find_fusermount()
    try:
        os.close(os.open(device, os.O_RDWR))
    except OSError as error:
        hint = "run in a container with CAP_SYS_ADMIN and --device /dev/fuse, or fix the permissions of /dev/fuse"
        raise CannotMountError("cannot mount with FUSE", f"{device}: {error.strerror}", hint) from error


def find_fusermount() -> str:
    """The program with which an ordinary user mounts and unmounts; CannotMountError if there is none."""
    program = shutil.which("fusermount") or shutil.which("fusermount3")
    if program is None:
        raise CannotMountError("cannot find fusermount", "an ordinary user needs it", "install it: apt install fuse3")
    return program


def _fusermount(mountpoint: Path, *, lazy: bool) -> None:
    program = find_fusermount()
    command = [program, "-u", *(["-z"] if lazy else []), str(mountpoint)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FUSERMOUNT_SECONDS, cwd="/", check=False)
    except subprocess.TimeoutExpired as error:
        raise BusyError(f"cannot unmount '{mountpoint}'", "fusermount does not come back") from error
    if done.returncode:
        reason = done.stderr.strip() or f"exit code {done.returncode}"
        if "busy" in reason.lower():
            raise BusyError(f"'{mountpoint}' is in use", reason)
        raise CannotMountError(f"cannot unmount '{mountpoint}'", reason)


def detach_all(mountpoint: Path) -> None:
    """Detach every pachmount layer at a directory; stops at a mount that is not ours."""
    while True:
        stack = layers(mountpoint)
        if not stack or stack[-1].fs_type != FS_TYPE:
            return
        unmount(mountpoint, lazy=True)


def replaces_without_gap() -> bool:
    """Whether `replace_without_gap` can be expected to work."""
    major, minor = re.findall(r"\d+", os.uname().release)[:2]
    return may_mount() and (int(major), int(minor)) >= (6, 5)


def replace_without_gap(staging: Path, target: Path) -> bool:
    """Put the mount at `staging` in place of the one at `target`, atomically; False where the kernel cannot.

    The new mount goes beneath the old one, which is then detached and uncovers it (fuse.md section 6.1; Linux ≥ 6.5
    and CAP_SYS_ADMIN). Files open in the old one stay open. On success nothing is left at `staging`.
    """
    if not may_mount():
        return False
    clone = _libc.syscall(
        _SYS_OPEN_TREE,
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(staging)),
        ctypes.c_uint(_OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC),
    )
    if clone < 0:
        return False
    try:
        moved = _libc.syscall(
            _SYS_MOVE_MOUNT,
            ctypes.c_int(clone),
            ctypes.c_char_p(b""),
            ctypes.c_int(_AT_FDCWD),
            ctypes.c_char_p(os.fsencode(target)),
            ctypes.c_uint(_MOVE_MOUNT_BENEATH | _MOVE_MOUNT_F_EMPTY_PATH),
        )
    finally:
        os.close(clone)
    if moved < 0:
        return False
    old = os.open(target, os.O_PATH | os.O_CLOEXEC)
    try:
        unmount(target, lazy=True)
        unmount(staging, lazy=True)
    finally:  # whoever lets go of it last waits until the kernel has freed the pages of all that was read there
        threading.Thread(target=os.close, args=(old,), name="let go", daemon=True).start()
    return True
