"""Mount points: checked before, made and removed with the mount, cleaned of what a dead daemon left."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
from pathlib import Path

from pachmount.errors import CannotMountError
from pachmount.fuse import kernel
from pachmount.paths import make_dirs, visible_mode

log = logging.getLogger(__name__)

PROBE_SECONDS = 2.0


def prepare_own_directory(mount_dir: Path, name: str) -> Path:
    """Make `<mount_dir>/<name>`; an empty directory of that name is taken over, a symbolic link never followed."""
    target = mount_dir / name
    refuse_mounted(target)
    try:
        make_dirs(mount_dir, visible_mode())
        _make_below(mount_dir, name)
        _refuse_unless_empty(target)
    except OSError as error:
        hint = "choose another with --mount-dir DIR or PFS_MOUNT_DIR"
        raise CannotMountError(f"cannot use '{target}'", error.strerror or str(error), hint) from error
    return target


def _make_below(mount_dir: Path, name: str) -> None:
    above = os.open(mount_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.mkdir(name, visible_mode(), dir_fd=above)
        os.chmod(name, visible_mode(), dir_fd=above)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
            why = "something that is not a directory is there"
            raise CannotMountError(f"cannot mount at '{mount_dir / name}'", why, "choose another name") from None
    finally:
        os.close(above)


def real_place(directory: Path) -> Path:
    """`directory` as the kernel's mount table names it: without symbolic links. What lies in a mount stays as it is."""
    place = Path(os.path.abspath(directory))
    inside = (m for m in kernel.mount_table() if m.fs_type == kernel.FS_TYPE and _is_at_or_below(place, m.mountpoint))
    return place if any(inside) else Path(os.path.realpath(place))


def _is_at_or_below(place: Path, mountpoint: str) -> bool:
    return f"{place}/".startswith(f"{mountpoint}/")


def check_foreign_directory(target: Path) -> None:
    """A directory of the user's own to mount at: it must exist, be empty and writable, and not be a mount point."""
    refuse_mounted(target)
    try:
        _refuse_unless_empty(target)
    except FileNotFoundError as error:
        raise CannotMountError(f"cannot mount at '{target}'", "it does not exist", f"mkdir -p {target}") from error
    except OSError as error:
        raise CannotMountError(f"cannot mount at '{target}'", error.strerror or str(error)) from error
    if not os.access(target, os.W_OK):
        raise CannotMountError(f"cannot mount at '{target}'", "the directory is not writable")


def refuse_mounted(target: Path) -> None:
    """CannotMountError if something is mounted at `target`, or it lies inside a mount of ours."""
    for mount in kernel.mount_table():
        if mount.mountpoint == str(target):
            why = f"{mount.source} is mounted there already"
            raise CannotMountError(f"cannot mount at '{target}'", why, f"pachmount unmount {target.name}")
        if mount.fs_type == kernel.FS_TYPE and _is_at_or_below(target, mount.mountpoint):
            raise CannotMountError(f"cannot mount at '{target}'", f"it lies inside the mount at '{mount.mountpoint}'")


def _refuse_unless_empty(target: Path) -> None:
    with os.scandir(target) as entries:
        first = next(entries, None)
    if first is not None:
        raise CannotMountError(f"cannot mount at '{target}'", "the directory is not empty", "choose an empty directory")


def remove_own_directory(target: Path) -> None:
    """Remove a directory that we made; one that is not empty any more is left alone."""
    try:
        target.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("the mount point %s stays: %s", target, error)


def detach_dead_mounts(mount_dir: Path, also: list[Path]) -> list[Path]:
    """Detach mounts of a daemon that died, below the mount directory and at other places; where they were.

    Mounts that still answer belong to a living daemon and are left alone.
    """
    found = {Path(mount.mountpoint) for mount in kernel.our_mounts(mount_dir)}
    found |= {place for place in also if any(layer.fs_type == kernel.FS_TYPE for layer in kernel.layers(place))}
    dead = [place for place in sorted(found) if _is_dead(place)]
    for place in dead:
        log.info("detaching a dead mount at %s", place)
        kernel.detach_all(place)
        if place.parent == mount_dir:
            remove_own_directory(place)
    return dead


def _is_dead(place: Path) -> bool:
    """Whether a mount is not connected any more; asked in another process, since it might never answer.

    Asked with statfs: the kernel may answer a plain stat of a dead mount from its cache.
    """
    try:
        done = subprocess.run(
            ["stat", "--file-system", "--", str(place)],
            capture_output=True,
            timeout=PROBE_SECONDS,
            cwd="/",
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode != 0 and b"not connected" in done.stderr
