"""Where a run's datums are shown: by a daemon of its own out of sight of others, or by the user's daemon."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from pachmount import paths
from pachmount.cli import private_daemon
from pachmount.cli.state import State
from pachmount.client import DaemonClient
from pachmount.datums.model import Datum, Input, PfsInput, leaves
from pachmount.datums.spec import to_dict
from pachmount.errors import BusyError, CannotMountError, UsageError, from_dict
from pachmount.running.commits import Commits, Prefetch
from pachmount.running.messages import Placed
from pachmount.running.stages import OwnNamespace, SharedDirectory, Stage

_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Scene:
    """How to show the datums of a run: `place` tells where the files of one are, `prefetch` is for `Job`."""

    place: Callable[[Datum], list[Placed]]
    prefetch: Callable[[Iterator[Datum]], None] = lambda _: None


class Place(Protocol):
    """Made before the process has threads, started afterwards."""

    @property
    def pfs(self) -> Path: ...

    @property
    def stage(self) -> Stage: ...

    def start(self, stack: ExitStack) -> DaemonClient: ...

    def prepare(self, daemon: DaemonClient, stack: ExitStack, source: Input, datums: Sequence[Datum]) -> Scene: ...


class PrivatePlace:
    """A mount namespace with a daemon of its own. Raises CannotMountError."""

    def __init__(self) -> None:
        try:
            self._private = private_daemon.enter()
        except CannotMountError as error:
            error.hint = f"{error.hint}; or add --serial"
            raise
        self._commits = self._private / "commits"
        self._commits.mkdir(exist_ok=True)
        self.pfs = paths.SYSTEM_MOUNT_DIR
        self.stage: Stage = OwnNamespace(self.pfs, self._private)

    def start(self, stack: ExitStack) -> DaemonClient:
        """Start the daemon."""
        places, _ = stack.enter_context(private_daemon.started(self._commits, self._private))
        return stack.enter_context(DaemonClient(places.socket))

    def prepare(self, daemon: DaemonClient, stack: ExitStack, source: Input, datums: Sequence[Datum]) -> Scene:  # noqa: ARG002 (a Place's)
        """Mount the commits of the datums."""
        commits = Commits(self._commits, source)
        commits.mount(daemon, iter(datums))
        return Scene(commits.place, Prefetch(daemon, commits))


class SharedPlace:
    """The mount directory of the user's daemon, which shows the datums in the place of what is mounted."""

    def __init__(self, state: State) -> None:
        if paths.daemon_url():
            raise UsageError(
                "cannot run datums one after the other", "the daemon is reached over TCP", "unset PACHMOUNT_URL"
            )
        self._daemon = state.client(start=True)
        self.pfs = state.places.mount_dir
        self.stage: Stage = SharedDirectory(self.pfs, state.places.socket)

    def start(self, stack: ExitStack) -> DaemonClient:  # noqa: ARG002 (a Place's)
        """It runs."""
        return self._daemon

    def prepare(self, daemon: DaemonClient, stack: ExitStack, source: Input, datums: Sequence[Datum]) -> Scene:
        """Have the daemon show datums until the stack is left. Raises BusyError if it does so already."""
        if daemon.status().datum is not None:
            raise BusyError("datums are mounted already", f"'{self.pfs}' shows one", "pachmount datum unmount")
        spec = json.dumps({"input": to_dict(_pinned(source, datums))})
        daemon.mount_datums(spec)
        stack.callback(daemon.unmount_datums)
        _wait_for_all(daemon)
        empty = {leaf.directory for leaf in leaves(source) if leaf.empty_files}

        def place(datum: Datum) -> list[Placed]:
            return [
                Placed("", str(self.pfs / file.input / file.path.lstrip("/")), file.is_dir, file.input in empty)
                for file in datum.files
            ]

        return Scene(place)


def _pinned(source: Input, datums: Sequence[Datum]) -> Input:
    """The input at the commits of its datums, whatever becomes of the branches."""
    commits = {(file.input, file.project, file.repo): file.commit for datum in datums for file in datum.files}

    def pinned(part: Input) -> Input:
        if isinstance(part, PfsInput):
            return replace(part, commit=commits.get((part.directory, part.project, part.repo), part.commit))
        return replace(part, inputs=tuple(map(pinned, part.inputs)))

    return pinned(source)


def _wait_for_all(daemon: DaemonClient) -> None:
    """Until the daemon knows all datums; the cluster's calls have deadlines. Raises what ended their listing early."""
    while True:
        shown = daemon.status().datum
        if shown is None:
            raise BusyError("the datums are gone", "somebody else unmounted them", "run it again")
        if shown.error is not None:
            raise from_dict(shown.error.model_dump())
        if shown.all_datums_received:
            return
        time.sleep(_LOOK_SECONDS)
