"""Requests for one mount that meet: each is done to the mount that is there then, or says that there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from pachmount.errors import BusyError, CannotMountError, NotFoundError, UsageError
from pachmount.mounts import moving as module
from pachmount.mounts.manager import MountManager
from pachmount.mounts.mount import Mount
from pachmount.mounts.resolve import Resolved
from pachmount.mounts.states import Event, State
from pachmount.mounts.wishes import Wish
from pachmount.names import Source

WISH = Wish("n", Source("default", "r", "master", ""))
RESOLVED = Resolved(Source("default", "r", "master", "a" * 32), 0.0, pinned=False, head="a" * 32)


class SlowSessions:
    """Sessions without a kernel. The next start or end waits until it is told how to end."""

    def __init__(self) -> None:
        self.hold = threading.Event()
        self.held = threading.Event()
        self.hold.set()
        self.failure: Exception | None = None

    def start(self, mount: Mount) -> None:
        self._wait()
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        mount.on(Event.DONE)

    def take_away(self, mount: Mount) -> None:
        mount.on(Event.UNMOUNT)
        self._wait()
        mount.on(Event.DONE)

    def _wait(self) -> None:
        self.held.set()
        assert self.hold.wait(20)


class Meeting:
    """A manager, and two requests of which the second comes while the first is at work."""

    def __init__(self, directory: Path) -> None:
        cluster = MagicMock()
        cluster.snapshot.return_value.connection = None
        self.writing = MagicMock()
        self.manager = MountManager(cluster, MagicMock(), MagicMock(), directory, 1.0, self.writing)
        self.sessions = SlowSessions()
        self.manager._sessions = self.sessions  # type: ignore[assignment]

    def of(self, first: Callable[[], object], second: Callable[[], object]) -> tuple[Future[object], Future[object]]:
        self.sessions.hold.clear()
        self.sessions.held.clear()
        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(first)
            assert self.sessions.held.wait(20)
            two = pool.submit(second)
            with pytest.raises(TimeoutError):
                two.result(0.1)  # it waits for the first
            self.sessions.hold.set()
        return one, two

    def mount(self) -> Mount:
        return self.manager.mount(WISH, RESOLVED)

    def require_mounted(self) -> None:
        assert self.manager.get("n").state is State.MOUNTED


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    return Meeting(tmp_path)


def test_a_mount_that_ends_is_made_anew_for_who_asks_for_it(meeting: Meeting) -> None:
    former = meeting.mount()
    one, two = meeting.of(lambda: meeting.manager.unmount("n"), meeting.mount)
    one.result()
    assert two.result() is not former
    meeting.require_mounted()


def test_a_mount_that_could_not_be_made_is_tried_by_the_next(meeting: Meeting) -> None:
    meeting.sessions.failure = CannotMountError("no")
    one, two = meeting.of(meeting.mount, meeting.mount)
    with pytest.raises(CannotMountError):
        one.result()
    assert two.result() is meeting.manager.get("n")
    meeting.require_mounted()


def test_a_mount_that_is_being_made_is_ended_afterwards(meeting: Meeting) -> None:
    one, two = meeting.of(meeting.mount, lambda: meeting.manager.unmount("n"))
    one.result()
    two.result()
    assert meeting.manager.mounts() == []


def test_what_is_staged_is_not_discarded_for_a_mount_that_has_just_ended(meeting: Meeting) -> None:
    """It may be that of the next mount of that name."""
    meeting.manager.mount(replace(WISH, mode="rw"), RESOLVED).overlay = MagicMock()
    for late in (
        lambda: meeting.manager.unmount("n", "discard"),
        lambda: meeting.manager.staged.discard("n", []),
    ):
        one, two = meeting.of(lambda: meeting.manager.unmount("n", "keep"), late)
        one.result()
        with pytest.raises(NotFoundError, match="already unmounted"):
            two.result()
        meeting.manager.mount(replace(WISH, mode="rw"), RESOLVED)
    meeting.writing.discard_all.assert_not_called()


def test_a_read_write_mount_does_not_follow(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "resolve", lambda *_: RESOLVED)
    mount = meeting.manager.mount(replace(WISH, mode="rw"), RESOLVED)
    with pytest.raises(UsageError, match="cannot follow"):
        meeting.manager.follow("n")
    assert not mount.spec.follow


def test_a_mount_that_became_read_write_meanwhile_is_not_moved(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = meeting.mount()

    def resolve_slowly(*_: object) -> Resolved:
        mount.spec = replace(mount.spec, mode="rw")
        return replace(RESOLVED, source=RESOLVED.source.at("b" * 32))

    monkeypatch.setattr(module, "resolve", resolve_slowly)
    meeting.manager._mounter.view.return_value.tree.error = None  # type: ignore[attr-defined]
    with pytest.raises(BusyError):
        meeting.manager.refresh("n")
    assert mount.spec.source.commit == "a" * 32
