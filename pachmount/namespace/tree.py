"""What a mount namespace of our own has: `/pfs` at its root, and a place for the daemon's files, both in memory."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from pachmount.errors import CannotMountError
from pachmount.namespace import syscalls

log = logging.getLogger(__name__)

_PLAIN = syscalls.MS_NOSUID | syscalls.MS_NODEV


def prepare(mount_dir: Path, private: Path) -> None:
    """Make `mount_dir`, which is at the root, and `private`, an existing directory, empty in this namespace.

    Both vanish with the namespace. A root that has no `mount_dir`, or one in use, is replaced by one in memory that has
    it, and all else that the other has. Raises CannotMountError.
    """
    here = os.getcwd()
    try:
        if not _can_be_covered(mount_dir):
            _replace_root(private, mount_dir.name)
        syscalls.mount("pachmount", mount_dir, "tmpfs", _PLAIN, "mode=755")
        syscalls.mount("pachmount", private, "tmpfs", _PLAIN, "mode=700")
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise CannotMountError(f"cannot make {mount_dir}", f"{error.strerror}{where}", "pachmount doctor") from error
    try:
        os.chdir(here)
    except OSError as error:
        raise CannotMountError(
            f"cannot start in '{here}'", error.strerror or str(error), "cd somewhere else"
        ) from error


def forbid_writing(directory: Path) -> None:
    """Nothing new in `directory` from now on: it would be lost. Raises OSError."""
    flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | _PLAIN
    syscalls.mount("none", directory, flags=flags)


def _can_be_covered(directory: Path) -> bool:
    """Whether a mount there leaves no doubt about what is mounted below: the mount table lists what is covered, too."""
    if directory.is_symlink() or not directory.is_dir():
        return False
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as lines:
        return not any(f"{line.split()[1]}/".startswith(f"{directory}/") for line in lines)


def _replace_root(place: Path, additional: str) -> None:
    """Make a root in memory at `place` with all that `/` has, but for an empty directory; then let it be `/`."""
    syscalls.mount("pachmount", place, "tmpfs", _PLAIN, "mode=755")
    syscalls.mount("none", place, flags=syscalls.MS_UNBINDABLE)  # else the directory that it is in would bring it along
    with os.scandir("/") as entries:
        for entry in entries:
            if entry.name != additional:
                _take_over(entry, place / entry.name)
    (place / additional).mkdir()
    forbid_writing(place)
    os.chdir(place)
    syscalls.mount(".", "/", flags=syscalls.MS_MOVE)  # not pivot_root: that cannot replace an initial RAM disk
    os.chroot(".")
    os.chdir("/")


def _take_over(entry: os.DirEntry[str], target: Path) -> None:
    """Have the same at `target`, but for what cannot be reached outside either, such as a file server that is away."""
    if entry.is_symlink():
        target.symlink_to(os.readlink(entry.path))
        return
    if entry.is_dir():
        target.mkdir()
    else:
        target.touch()
    try:
        syscalls.mount(entry.path, target, flags=syscalls.MS_BIND | syscalls.MS_REC)
    except OSError as error:
        log.warning("the command cannot see %s: %s", entry.path, error.strerror)
