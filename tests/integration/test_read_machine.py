"""Random reads through two mounts under a tiny cache, damaged at times, over a wire that breaks: truth or an error."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.integration import call_proxy as faults
from tests.integration import machines
from tests.integration.box import Box
from tests.integration.call_proxy import On
from tests.integration.reader import Range, Reader
from tests.integration.wire import Wire, data

MIB = 1 << 20
READ_TIMEOUT = 2.0
BIG = {f"/big/{number}": 9 * MIB + 1000 * number for number in range(9)}
SMALL = {f"/small/{number:03}": 37 * number % 5000 for number in range(120)}
EDGES = {"/edge/one": 1, "/edge/block": MIB, "/edge/more": MIB + 1, "/edge/million": 1_000_000, "/edge/less": 999_999}
SIZES = BIG | SMALL | EDGES
PATHS = [*BIG] * 8 + [*SMALL] + [*EDGES] * 8
ALLOWED = (errno.EIO, errno.ETIMEDOUT, errno.EFAULT)
"""While there is a fault. EFAULT is how the reader reports SIGBUS of a memory map."""

FAULTS: dict[str, Callable[[Wire], object]] = {
    "reset now": lambda wire: wire.bytes.reset(),
    "reset soon": lambda wire: wire.bytes.cut_after(300_000, "reset"),
    "closed soon": lambda wire: wire.bytes.cut_after(70_000, "close"),
    "half open": lambda wire: wire.bytes.cut_after(500_000, "stall"),
    "slow": lambda wire: setattr(wire.bytes, "bandwidth", 30e6),
    "refused": lambda wire: (wire.bytes.refuse(), wire.bytes.reset()),
    "unavailable": lambda wire: setattr(
        wire.calls, "fault", On(faults.status_after(100_000, grpc.StatusCode.UNAVAILABLE), times=2)
    ),
    "damaged": lambda wire: setattr(wire.calls, "fault", On(faults.flipped, methods=["GetFileTAR"], times=2)),
    "short": lambda wire: setattr(wire.calls, "fault", On(faults.first(1000), times=2)),
}


class World:
    """What all examples share: the daemon, its mounts, a reading process, and the truth."""

    def __init__(self) -> None:
        self.box = Box(
            {
                "PACHMOUNT_CACHE_SIZE": "64M",
                "PACHMOUNT_MEMORY_SIZE": "16M",
                "PACHMOUNT_READ_TIMEOUT": str(READ_TIMEOUT),
                "PACHMOUNT_CALL_TIMEOUT": "1.5",
            }
        )
        self.wire = Wire(self.box)
        self.wire.login()
        self.reader = Reader(limit=60)
        self.truth = {"old": self._content("old", SIZES)}
        changed = {path: size for path, size in SIZES.items() if path.endswith(("3", "more"))}
        self.truth["new"] = self.truth["old"] | self._content("new", changed)
        address = self.wire.server.address
        repo = self.box.repo("machine", address)
        first = self.wire.put(repo, self.truth["old"])
        self.box.mount(f"{repo}@{first}", "old")
        self.wire.put(repo, {path: self.truth["new"][path] for path in changed})
        self.box.mount(repo, "new")
        for name in self.truth:
            self.box.listed(name)
        self.cache = Path(self.box.status()["cache"]["directory"])

    def _content(self, seed: str, sizes: dict[str, int]) -> dict[str, bytes]:
        return {path: data(f"{seed}{path}", size) for path, size in sizes.items()}

    def close(self) -> None:
        self.reader.close()
        self.wire.heal()
        try:
            self.box.stop()
        finally:
            self.box.close()
            self.wire.close()


class Reads(RuleBasedStateMachine):
    """`trouble_until`: until then (on the monotonic clock, without end while a fault lasts) reads may fail."""

    world: World

    @initialize()
    def begin(self) -> None:
        self.handles: dict[tuple[str, str], int] = {}
        self.world.wire.heal()
        self.trouble_until = time.monotonic() + 2 * READ_TIMEOUT

    def _handle(self, mount: str, path: str) -> int:
        key = mount, path
        if key not in self.handles:
            self.handles[key] = self.world.reader.open(self.world.box.path(mount) / path[1:])
        return self.handles[key]

    @property
    def _in_trouble(self) -> bool:
        return time.monotonic() < self.trouble_until

    @rule(
        wanted=st.lists(
            st.tuples(
                st.sampled_from(["old", "new"]),
                st.sampled_from(PATHS),
                st.floats(0, 1.05),
                st.sampled_from([1, 100, 4096, 65536, 300_000, 3 * MIB]),
                st.booleans(),
                st.sampled_from([False, False, False, True]),
            ),
            min_size=1,
            max_size=8,
        )
    )
    def read(self, wanted: list[tuple[str, str, float, int, bool, bool]]) -> None:
        ranges, expected = [], []
        for mount, path, position, size, dropped, mapped in wanted:
            content = self.world.truth[mount][path]
            offset = int(position * len(content))
            if mapped:  # a map has no bytes behind the end
                size = min(size, len(content) - offset)
                if size <= 0:
                    continue
            ranges.append(Range(self._handle(mount, path), offset, size, dropped, mapped))
            expected.append((mount, path, content[offset : offset + size]))
        for answer, each, (mount, path, content) in zip(
            self.world.reader.read_all(ranges), ranges, expected, strict=True
        ):
            if answer.errno:
                assert answer.errno in ALLOWED, f"{mount}{path} {each}: {answer}"
                assert self._in_trouble, f"{mount}{path} {each}: {answer}"
                assert answer.seconds < 3 * READ_TIMEOUT + 6, f"{mount}{path} {each}: {answer}"
            else:
                assert answer.data == content, f"wrong bytes of {mount}{path} {each}"

    @rule(name=st.sampled_from(sorted(FAULTS)))
    def break_something(self, name: str) -> None:
        FAULTS[name](self.world.wire)
        self.trouble_until = float("inf")

    @rule()
    def heal(self) -> None:
        self.world.wire.heal()
        self.trouble_until = time.monotonic() + 2 * READ_TIMEOUT + 2

    @rule()
    def delete_the_cache(self) -> None:
        shutil.rmtree(self.world.cache, ignore_errors=True)

    @rule(position=st.floats(0, 1), length=st.integers(1, 100_000))
    def damage_the_cache(self, position: float, length: int) -> None:
        for file in sorted(self.world.cache.rglob("*")):
            with contextlib.suppress(OSError):  # it may go at any time
                if file.is_file() and "sqlite" not in file.name:
                    with file.open("r+b") as stream:
                        stream.seek(int(position * max(0, os.fstat(stream.fileno()).st_size - length)))
                        stream.write(bytes(length))

    @rule()
    def close_files(self) -> None:
        for handle in self.handles.values():
            self.world.reader.close_file(handle)
        self.handles.clear()

    @invariant()
    def the_cache_is_within_its_limit(self) -> None:
        used = 0
        for file in self.world.cache.rglob("*"):
            with contextlib.suppress(OSError):
                used += file.stat().st_blocks * 512
        assert used <= 64 * MIB

    def teardown(self) -> None:
        self.close_files()
        self.world.wire.heal()


@pytest.fixture(scope="module")
def world(fuse: None) -> Iterator[World]:
    with contextlib.closing(World()) as world:
        yield world


@pytest.mark.parametrize("examples", [100, pytest.param(300, marks=pytest.mark.long)])
@pytest.mark.timeout(3600)
def test_every_read_gives_the_truth_or_an_error_while_there_is_a_fault(world: World, examples: int) -> None:
    machines.run(Reads, world, examples, steps=12)
