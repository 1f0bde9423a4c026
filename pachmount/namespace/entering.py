"""Entering a mount namespace: as root just so, as an ordinary user together with a user namespace."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pachmount.errors import CannotMountError
from pachmount.namespace import syscalls

_WHAT = "cannot make a mount namespace"
_MODE_HINT = "an administrator can let all users open it: chmod 666 /dev/fuse"
_REFUSALS = (
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for this Python with 'userns,'",
    ),
)
"""Where systems say that ordinary users may not have user namespaces, and how an administrator changes that."""


def check_device(device: str = "/dev/fuse") -> None:
    """Raise CannotMountError unless this user can open the device that FUSE mounts need."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError as error:
        hint = "load the kernel module (modprobe fuse), or give the container the device: --device /dev/fuse"
        raise CannotMountError("cannot mount with FUSE", f"{device} does not exist", hint) from error
    except OSError as error:
        hint = _MODE_HINT if error.errno == errno.EACCES else "modprobe fuse"
        raise CannotMountError("cannot mount with FUSE", f"{device}: {error.strerror}", hint) from error


def enter() -> None:
    """Put this process into a mount namespace of its own, whose mounts nobody outside of it sees.

    Mounts that come and go outside still do so inside. We may mount then, and so may programs that we start. Raises
    CannotMountError, saying what forbids it.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        if not (uid == 0 and _enter_as_root()):
            syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
            _keep_ids(uid, gid)
            syscalls.let_programs_mount()
        syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
    except OSError as error:
        raise refusal(error) from error


def refusal(error: OSError) -> CannotMountError:
    """Why the system does not let this user have user and mount namespaces, and what would change that."""
    for file, forbidding, remedy in _REFUSALS:
        try:
            found = Path(file).read_text().strip()
        except OSError:
            continue
        if found == forbidding:
            why = f"user namespaces are switched off here ({file} is {found})"
            return CannotMountError(_WHAT, why, f"an administrator can allow them: {remedy}")
    why = f"{error.strerror} (user namespaces are not allowed here)"
    hint = "in a container: --cap-add SYS_ADMIN, or --security-opt seccomp=unconfined; else 'pachmount mount'"
    return CannotMountError(_WHAT, why, hint)


def _enter_as_root() -> bool:
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
    except PermissionError:  # root of a container without CAP_SYS_ADMIN is like an ordinary user
        return False
    return True


def _keep_ids(uid: int, gid: int) -> None:
    """Be called the same in the user namespace just made; nobody else has a name in it."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
