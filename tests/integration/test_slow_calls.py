"""One call to the cluster is slow, or fails: what does not need it is as fast as ever."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.box import Box
from tests.integration.call_proxy import CONTENT_CALLS, LISTING_CALLS, Call, On
from tests.integration.test_rest import ask
from tests.integration.wire import Wire, data

NewBox = Callable[..., Box]

SLOW = 20.0
"""Seconds that a slow call takes."""
FAST = 6.0
"""Seconds within which a command is as fast as ever on a machine that other tests share."""


@pytest.fixture
def wire(box: Box) -> Iterator[Wire]:
    wire = Wire(box)
    yield wire
    wire.close()


class Slow:
    """A fault: the answers begin after SLOW seconds, or when it is over."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def __call__(self, call: Call, messages: Iterator[bytes]) -> Iterator[bytes]:
        self._over.wait(SLOW)
        yield from messages

    def end(self) -> None:
        self._over.set()


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow.end()


def timed(box: Box, *command: str) -> float:
    begun = time.monotonic()
    box.ok(*command, timeout=60)
    return time.monotonic() - begun


def test_a_slow_list_of_repos_slows_no_command_that_needs_none(wire: Wire, slow: Slow) -> None:
    box = wire.box
    wire.login()
    mounted = wire.mounted({"/a": b"1"})
    other = box.repo("other", wire.server.address)
    wire.put(other, {"/b": b"2"})
    wire.calls.fault = On(slow, methods=["ListRepo"])
    name = mounted.name
    took = {
        command[0]: timed(box, *command)
        for command in (
            ("mount", other),
            ("refresh", other),
            ("follow", other),
            ("status",),
            ("unmount", other),
            ("remount", "--rw", name),
            ("unmount", name),
        )
    }
    assert {command: seconds for command, seconds in took.items() if seconds > FAST} == {}


def test_many_slow_questions_keep_status_from_nobody(wire: Wire, slow: Slow) -> None:
    """Twenty questions for the mounts wait for the list of repos; the daemon's own state is told at once."""
    box = wire.box
    wire.login()
    wire.mounted({"/a": b"1"})
    ask(box, "GET", "/mounts")
    wire.calls.fault = On(slow, methods=["ListRepo", "InspectBranch", "ListCommit"])
    threads = [threading.Thread(target=ask, args=(box, "GET", "/repos")) for _ in range(20)]
    for thread in threads:
        thread.start()
    try:
        begun = time.monotonic()
        for route in ("/health", "/stats", "/metrics", "/status"):
            assert ask(box, "GET", route).status == 200
        assert time.monotonic() - begun < FAST
        look = next(pool for pool in ask(box, "GET", "/status").json["pools"] if pool["name"] == "look")
        assert look["running"] <= look["threads"]
        assert look["waiting"] <= look["waiting_limit"]
    finally:
        slow.end()
        for thread in threads:
            thread.join(60)


@pytest.mark.parametrize("calls", [CONTENT_CALLS, LISTING_CALLS])
def test_a_slow_listing_or_content_keeps_no_mount_from_ending(wire: Wire, slow: Slow, calls: tuple[str, ...]) -> None:
    box = wire.box
    wire.login()
    repo = box.repo("slow", wire.server.address)
    wire.put(repo, {f"/{number}": b"%d" % number for number in range(5)})
    wire.calls.fault = On(slow, methods=calls)
    assert timed(box, "mount", repo) < FAST
    assert timed(box, "status") < FAST
    assert timed(box, "unmount", repo) < FAST
    assert not Path(box.path(repo)).exists()


@pytest.mark.parametrize("mode", ["ro", "rw"])
@pytest.mark.parametrize("size", [10, 3 << 20])
def test_a_read_has_one_deadline_though_the_kernel_asks_twice(
    new_box: NewBox, slow: Slow, mode: str, size: int
) -> None:
    """And right after it the next read gets its bytes, on the same open file, when the cluster is back."""
    box = new_box(PACHMOUNT_READ_TIMEOUT="2")
    wire = Wire(box)
    try:
        wire.login()
        repo = box.repo("slow", wire.server.address)
        content = data("deadline", 4 << 20)
        wire.put(repo, {"/file": content})
        box.mount(repo, mode=mode)
        box.listed(repo)
        with open(box.path(repo, "file"), "rb", buffering=0) as file:
            wire.calls.fault = On(slow, methods=CONTENT_CALLS)
            begun = time.monotonic()
            with pytest.raises(OSError, match=r"Errno (5|110)"):
                os.pread(file.fileno(), size, 0)
            assert 1.8 < time.monotonic() - begun < 3.7
            slow.end()
            wire.heal()
            assert os.pread(file.fileno(), size, 0) == content[:size]
    finally:
        slow.end()
        wire.close()
