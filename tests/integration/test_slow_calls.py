"""One call to the cluster is slow, or fails: what does not need it is as fast as ever."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.box import Box
from tests.integration.call_proxy import CONTENT_CALLS, LISTING_CALLS, Call, Fault, On
from tests.integration.test_rest import ask
from tests.integration.wire import Wire

SLOW = 12.0
"""Seconds that a slow call takes here; `--long` takes 20."""
FAST = 6.0
"""Seconds within which a command is as fast as ever on a machine that other tests share."""


@pytest.fixture
def wire(box: Box) -> Iterator[Wire]:
    wire = Wire(box)
    yield wire
    wire.close()


def slow(seconds: float) -> Fault:
    """The answer begins after some seconds."""

    def fault(call: Call, messages: Iterator[bytes]) -> Iterator[bytes]:
        time.sleep(seconds)
        yield from messages

    return fault


def timed(box: Box, *command: str) -> float:
    begun = time.monotonic()
    box.ok(*command, timeout=60)
    return time.monotonic() - begun


def test_a_slow_list_of_repos_slows_no_command_that_needs_none(wire: Wire) -> None:
    box = wire.box
    wire.login()
    mounted = wire.mounted({"/a": b"1"})
    other = box.repo("other", wire.server.address)
    wire.put(other, {"/b": b"2"})
    wire.calls.fault = On(slow(SLOW), methods=["ListRepo"])
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


def test_many_slow_questions_keep_status_from_nobody(wire: Wire) -> None:
    """Twenty questions for the mounts wait for the list of repos; the daemon's own state is told at once."""
    import threading

    box = wire.box
    wire.login()
    wire.mounted({"/a": b"1"})
    ask(box, "GET", "/mounts")
    wire.calls.fault = On(slow(SLOW), methods=["ListRepo", "InspectBranch", "ListCommit"])
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
        for thread in threads:
            thread.join(60)


@pytest.mark.parametrize("calls", [CONTENT_CALLS, LISTING_CALLS])
def test_a_slow_listing_or_content_keeps_no_mount_from_ending(wire: Wire, calls: tuple[str, ...]) -> None:
    box = wire.box
    wire.login()
    repo = box.repo("slow", wire.server.address)
    wire.put(repo, {f"/{number}": b"%d" % number for number in range(5)})
    wire.calls.fault = On(slow(SLOW), methods=calls)
    assert timed(box, "mount", repo) < FAST
    assert timed(box, "status") < FAST
    assert timed(box, "unmount", repo) < FAST
    assert not Path(box.path(repo)).exists()
