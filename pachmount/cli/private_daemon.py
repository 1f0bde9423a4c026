"""A daemon that serves one command only, in a mount namespace of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pachmount import paths
from pachmount.cli import process
from pachmount.paths import Places

STOP_SECONDS = 10.0
"""How long the mounts may take to go; nothing is staged in them."""
_FOREIGN = ("PFS_SOCK_PATH", "PFS_MOUNT_DIR", "SIDECAR_MODE", "PACHMOUNT_URL", "DEFAULT_SCHEMA")
"""Variables that lead to another daemon, which serves the mounts that the user has otherwise."""


def enter() -> Path:
    """Go into a mount namespace with an empty /pfs; a directory for the daemon in it. Raises CannotMountError."""
    from pachmount.namespace import entering, tree

    entering.check_device()
    private = paths.exec_dir()
    paths.make_private_dir(private.parent)
    paths.make_private_dir(private)
    entering.enter()
    tree.prepare(paths.SYSTEM_MOUNT_DIR, private)
    for variable in _FOREIGN:
        os.environ.pop(variable, None)
    return private


@contextlib.contextmanager
def started(mount_dir: Path, private: Path) -> Iterator[tuple[Places, int]]:
    """A daemon that mounts below `mount_dir`: its places and its process. It ends with us."""
    from pachmount.daemon import spawn

    places = paths.private_places(mount_dir, private)
    flags = ["--private-dir", str(private), "--parent", str(os.getpid()), "--allow-other", "--listen", ""]
    daemon = spawn.spawn_daemon(places, flags)
    try:
        yield places, daemon
    finally:
        process.stop(daemon, STOP_SECONDS)
