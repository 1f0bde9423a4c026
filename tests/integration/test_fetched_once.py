"""Nothing is fetched twice: counted at the server's side, over mounts, commits with equal files, and daemons."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.box import Box, wait_until
from tests.integration.wire import Wire, data

MIB = 1 << 20
FILES = (
    {f"/small/{number % 5}/{number:03}": data(number, 50 + 97 * number % 9000) for number in range(150)}
    | {f"/big/{number}": data(f"big{number}", (3 + 5 * number) * MIB + 17 * number) for number in range(3)}
    | {"/empty": b"", "/copy": data("big1", 8 * MIB + 17), "/edge": data("edge", MIB)}
)


@pytest.fixture
def wire(fuse: None) -> Iterator[Wire]:
    box, wire = Box(), None
    try:
        wire = Wire(box)
        wire.login()
        yield wire
        box.stop()
    finally:
        box.close()
        if wire is not None:
            wire.close()


def read_all(folder: Path, order: random.Random) -> None:
    """Every file below a mount is what was put there."""
    paths = list(FILES)
    order.shuffle(paths)
    for path in paths:
        assert (folder / path[1:]).read_bytes() == FILES[path], path


def settled(box: Box) -> None:
    """Wait until nothing is under way to the daemon or to its disk."""
    wait_until(lambda: not (c := box.status()["cache"])["streams"] and not c["write_queue"], "all is written", 30)


def test_a_second_reading_makes_no_content_request(wire: Wire) -> None:
    box, address = wire.box, wire.server.address
    repo = box.repo("once", address)
    first = wire.put(repo, FILES)
    box.mount(repo, "first")
    read_all(box.path("first"), random.Random(1))
    settled(box)
    different = {content for content in FILES.values() if content}
    assert wire.calls.content_bytes < 1.2 * sum(map(len, different)), "equal files are fetched once"

    before = wire.calls.content_calls
    box.mount(f"{repo}@{first}", "second")
    read_all(box.path("second"), random.Random(2))
    assert wire.calls.content_calls == before, "another mount"

    wire.put(repo, {"/another": b"file"})
    other = box.repo("other", address)
    wire.put(other, FILES)
    box.mount(repo, "third")
    box.mount(other, "fourth")
    read_all(box.path("third"), random.Random(3))
    read_all(box.path("fourth"), random.Random(4))
    assert wire.calls.content_calls == before, "other commits and repos with equal files"

    box.ok("daemon", "stop")
    box.ok("daemon", "start")
    read_all(box.path("first"), random.Random(5))
    assert wire.calls.content_calls == before, "another daemon"

    neighbour = Box(share=box)
    try:
        neighbour.start()
        wire.login(neighbour)
        neighbour.mount(repo, "fifth")
        read_all(neighbour.path("fifth"), random.Random(6))
        assert wire.calls.content_calls == before, "a daemon beside it, with the same cache"
        neighbour.stop()
    finally:
        neighbour.close()
