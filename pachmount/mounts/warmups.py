"""The warm-ups of a daemon: started for mounts, watched, cancelled, remembered for a while."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence

from pachmount.errors import BusyError, NotFoundError
from pachmount.mounts.manager import MountManager
from pachmount.mounts.mount import Mount
from pachmount.mounts.states import State
from pachmount.names import normalize_path
from pachmount.vfs.content import Contents
from pachmount.vfs.view import CommitView, WaitGate
from pachmount.vfs.warmup import Part, Warmup

MAX_RUNNING = 4
MAX_REMEMBERED = 20


class Warmups:
    """Thread-safe. MAX_RUNNING at once; the last MAX_REMEMBERED can be asked about."""

    def __init__(self, manager: MountManager, contents: Contents, gate: WaitGate, room: Callable[[], int]) -> None:
        self._manager = manager
        self._contents = contents
        self._gate = gate
        self._room = room
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._all: list[Warmup] = []

    def all(self) -> list[Warmup]:
        """Those remembered, oldest first."""
        with self._lock:
            return list(self._all)

    def get(self, warmup_id: str) -> Warmup:
        """One by its id; NotFoundError."""
        for warmup in self.all():
            if warmup.id == warmup_id:
                return warmup
        raise NotFoundError(f"no warm-up '{warmup_id}'", "it never was, or ended long ago", "pachmount status")

    def start(self, wanted: Mapping[str, Sequence[str]]) -> Warmup:
        """Warm up paths of mounts (by name; none = everything).

        NotFoundError for what does not exist, BusyError while MAX_RUNNING others are at work.
        """
        parts = [self._part(self._manager.get(name), paths) for name, paths in wanted.items()]
        with self._lock:
            if sum(warmup.running for warmup in self._all) >= MAX_RUNNING:
                raise BusyError("too many warm-ups at once", f"{MAX_RUNNING} are running", "try again when one is done")
            warmup = Warmup(next(self._numbers), parts, self._contents, self._gate, self._room)
            ended = [other for other in self._all if not other.running]
            for forgotten in ended[: max(0, len(self._all) + 1 - MAX_REMEMBERED)]:
                self._all.remove(forgotten)
            self._all.append(warmup)
        warmup.start()
        return warmup

    def close(self) -> None:
        """Cancel all."""
        for warmup in self.all():
            warmup.cancel()

    def _part(self, mount: Mount, paths: Sequence[str]) -> Part:
        name, view = mount.spec.name, mount.view
        if view is None or mount.state is not State.MOUNTED:
            raise BusyError(f"mount '{name}' cannot be warmed up", f"it is {mount.state.value}", "pachmount status")

        def current() -> CommitView | None:
            return mount.view if mount.state not in (State.UNMOUNTING, State.UNMOUNTED) else None

        keys = list(dict.fromkeys((normalize_path(path) or "/").encode() for path in paths)) or [b"/"]
        for key in keys:
            if view.tree.find(key) is None:
                why = f"commit {view.source.commit[:8]} has no such file or directory"
                raise NotFoundError(f"no '{key.decode()}' in mount '{name}'", why, f"ls {mount.spec.mountpoint}")
        below = [key for key in keys if not any(key != other and _is_below(key, other) for other in keys)]
        return Part(name, view, tuple(below), current)


def _is_below(path: bytes, other: bytes) -> bool:
    return path.startswith(other.rstrip(b"/") + b"/")
