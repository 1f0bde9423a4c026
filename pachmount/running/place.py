"""The `/pfs` of one datum, in a mount namespace that is for it alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pachmount.namespace import syscalls
from pachmount.running.command import User
from pachmount.running.messages import Placed

OUT = "out"
_PLAIN = syscalls.MS_NOSUID | syscalls.MS_NODEV


@contextlib.contextmanager
def own_namespace() -> Iterator[None]:
    """A mount namespace for what happens inside: a copy of ours, to which we return. Raises OSError.

    It ends with the last process in it. For processes with one thread.
    """
    ours = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        try:
            yield
        finally:
            syscalls.setns(ours, syscalls.CLONE_NEWNS)
    finally:
        os.close(ours)


def show(pfs: Path, placed: Sequence[Placed], out: Path, hidden: Path, user: User) -> None:
    """Cover `pfs` with one that has just these files, and `out` for the output; then hide `hidden`. Raises OSError.

    Whatever is shown stays there, though what it is taken from is hidden.
    """
    syscalls.mount("pachmount", pfs, "tmpfs", _PLAIN, "mode=755")
    if user.uid is not None:
        os.chown(pfs, user.uid, -1 if user.gid is None else user.gid)
    for entry in placed:
        target = Path(entry.target)
        if target.exists():  # a directory above it is shown already
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.empty:
            _make_empty(Path(entry.source), target)
        else:
            _make(target, is_dir=entry.is_dir)
            syscalls.mount(entry.source, target, flags=syscalls.MS_BIND)
    (pfs / OUT).mkdir()
    syscalls.mount(out, pfs / OUT, flags=syscalls.MS_BIND)
    syscalls.umount(hidden, syscalls.MNT_DETACH)


def _make(target: Path, *, is_dir: bool) -> None:
    if is_dir:
        target.mkdir()
    else:
        target.touch()


def _make_empty(source: Path, target: Path) -> None:
    """The same names, with nothing in the files."""
    if not source.is_dir():
        target.touch()
        return
    for directory, _, files in os.walk(source):
        there = target / os.path.relpath(directory, source)
        there.mkdir(exist_ok=True)
        for name in files:
            (there / name).touch()
