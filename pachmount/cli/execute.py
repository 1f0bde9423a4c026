"""`exec`: run a command that finds its input below /pfs, with nothing mounted for anybody else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from pachmount import paths
from pachmount.cli import mounts, output, private_daemon, process, program
from pachmount.cli.state import State
from pachmount.errors import CannotMountError, PachmountError, UsageError

if TYPE_CHECKING:
    from pachmount.api.schema import MountEntry
    from pachmount.paths import Places

_PFS = paths.SYSTEM_MOUNT_DIR
Sources = Annotated[
    list[str],
    typer.Argument(metavar="SOURCE", help="[PROJECT/]REPO[@BRANCH|@COMMIT][:/PATH], as for 'mount'; one or more."),
]
Name = Annotated[str, typer.Option("--name", "-n", metavar="NAME", help="Its name. Default: the repo's; one SOURCE.")]


def execute(state: State, sources: Sources, name: Name = "") -> int:
    """Run a command that finds repositories at /pfs, without privileges.

    \b
    Examples:
      pachmount exec images -- python train.py     reads /pfs/images
      pachmount exec images@dev labels -- make     /pfs/images and /pfs/labels
      pachmount exec images@master^ -n old -- sh   /pfs/old, in a shell

    The command, and all that it starts, has a mount namespace of its own: only
    there is /pfs, with these mounts and nothing else, until the command ends.
    Neither root nor fusermount is needed, nor a /pfs of the machine; but user
    namespaces must be allowed and /dev/fuse open to all, as it usually is. The
    mounts are read-only ('pachmount mount --rw' changes files). The exit code is
    that of the command: 128+N if signal N ended it, 127 if there is no such
    command, 126 if it cannot be run. See docs/deploy/hpc.md.
    """
    entries = _entries(sources, name)
    if not state.program:
        raise UsageError("nothing to run", "a command is missing", "pachmount exec SOURCE -- COMMAND")
    from pachmount.namespace import tree

    private = private_daemon.enter()
    with private_daemon.started(_PFS, private) as (places, daemon):
        _mount(places, entries)
        tree.forbid_writing(_PFS)
        return _run(state, {**os.environ, "PFS_MOUNT_DIR": str(_PFS), "PFS_SOCK_PATH": str(places.socket)}, daemon)


def _entries(sources: list[str], name: str) -> list[MountEntry]:
    if name and len(sources) > 1:
        raise UsageError("--name given", f"there are {len(sources)} sources", "leave it out, or give one source")
    entries = [mounts.entry_of(source, name=name) for source in sources]
    twice = next((entry.name for entry in entries if [e.name for e in entries].count(entry.name) > 1), None)
    if twice:
        raise UsageError(f"two sources have the name '{twice}'", "each needs its own below /pfs")
    return entries


def _mount(places: Places, entries: list[MountEntry]) -> None:
    from pachmount.client import DaemonClient

    with DaemonClient(places.socket) as client:
        client.mount(entries)
        for entry in client.status().mounts:
            if entry.state != "mounted":
                raise CannotMountError(f"cannot mount '{entry.name}'", entry.status or entry.state, "pachmount doctor")


def _run(state: State, env: Mapping[str, str], daemon: int) -> int:
    try:
        code = program.run(state.program, env)
    except OSError as error:
        why = error.strerror or str(error)
        output.error(PachmountError(f"cannot run '{state.program[0]}'", why, "a command follows '--'"))
        return program.code_of(error)
    if not process.is_alive(daemon):
        state.note("the mounts ended before the command did")
    return code
