"""Range reads: right bytes or an error, each block fetched once, whatever the wire does."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest

from pachmount.cache.blocks import BLOCK_BYTES, BlockCache
from pachmount.errors import ClusterTimeoutError, ClusterUnreachableError, DataError, LoginRequiredError
from pachmount.vfs import content as content_module
from pachmount.vfs import stream as stream_module
from pachmount.vfs.content import Contents
from pachmount.vfs.hashes import content_hash
from pachmount.vfs.stream import Origin
from tests.fakes import COMMIT, FakeCluster

MIB = 1 << 20


class Reader:
    """One fake file and what reads it."""

    def __init__(self, size: int, *, memory: int = 64 * MIB, timeout: float = 5.0, piece: int = 256 << 10) -> None:
        self.data = random.Random(size).randbytes(size)
        self.cluster = FakeCluster({"/file": self.data}, piece)
        self.cache = BlockCache(None, memory)
        self.contents = Contents(self.cache, timeout, 8 * MIB)
        entry = self.cluster.entries[0]
        self.digest = entry.hash
        self.origin = Origin(self.cluster, COMMIT, "/file", size)

    def read(self, offset: int, size: int) -> bytes:
        return self.contents.read(self.digest, self.origin, offset, size, nullcontext())

    def close(self) -> None:
        self.contents.close()
        self.cache.close()


@pytest.fixture
def make_reader() -> Iterator[type[Reader]]:
    made: list[Reader] = []

    class Tracked(Reader):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[arg-type]
            made.append(self)

    yield Tracked
    for reader in made:
        reader.close()


@pytest.mark.parametrize("size", [0, 1, 4096, MIB - 1, MIB, MIB + 1, 5 * MIB + 17])
def test_sequential_read_gives_every_byte_once(make_reader: type[Reader], size: int) -> None:
    reader = make_reader(size)
    got = b"".join(reader.read(offset, 131072) for offset in range(0, size + 131072, 131072))
    assert got == reader.data
    assert reader.cluster.sent_bytes == size
    assert b"".join(reader.read(offset, 131072) for offset in range(0, size, 131072)) == reader.data
    assert reader.cluster.sent_bytes == size, "the second read comes from the cache"


def test_random_ranges_equal_the_truth_under_a_tiny_cache(make_reader: type[Reader]) -> None:
    reader = make_reader(8 * MIB + 5, memory=3 * MIB)
    generator = random.Random(7)
    for _ in range(150):
        offset = generator.randrange(len(reader.data) + 10)
        size = generator.choice([1, 4096, 131072, 2 * MIB])
        assert reader.read(offset, size) == reader.data[offset : offset + size]


def test_many_readers_share_one_transfer(make_reader: type[Reader]) -> None:
    reader = make_reader(8 * MIB)
    with ThreadPoolExecutor(8) as pool:
        parts = [pool.submit(reader.read, 0, len(reader.data)) for _ in range(8)]
        assert all(part.result() == reader.data for part in parts)
    assert reader.cluster.sent_bytes <= len(reader.data) + 2 * MIB


def test_a_reader_that_comes_while_its_block_is_handed_over_starts_no_other_transfer(
    make_reader: type[Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = make_reader(4 * MIB)
    handing_over, second_waits = threading.Event(), threading.Event()
    contains, fetch = reader.cache.contains, content_module._Content._transfer_for

    def contains_after_the_second_came(key: tuple[bytes, int]) -> bool:
        handing_over.set()
        second_waits.wait(5)
        return contains(key)

    def transfer_for(content: content_module._Content, origin: Origin, number: int) -> None:
        fetch(content, origin, number)
        if handing_over.is_set():
            second_waits.set()

    monkeypatch.setattr(reader.cache, "contains", contains_after_the_second_came)
    monkeypatch.setattr(content_module._Content, "_transfer_for", transfer_for)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(reader.read, 0, 4096)
        assert handing_over.wait(5)
        second = pool.submit(reader.read, 0, 4096)
        assert first.result() == second.result() == reader.data[:4096]
    assert reader.read(0, len(reader.data)) == reader.data
    wait_until(lambda: reader.contents.transfers == 0)
    assert [offset for _, offset in reader.cluster.opens] == [0]


def test_the_first_bytes_of_a_big_file_do_not_fetch_it(make_reader: type[Reader]) -> None:
    reader = make_reader(64 * MIB)
    assert reader.read(0, 65536) == reader.data[:65536]
    wait_until(lambda: reader.contents.transfers == 0 or paused(reader))
    assert reader.cluster.sent_bytes <= 8 * MIB


def test_a_pause_ends_when_nobody_reads_on(make_reader: type[Reader], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "IDLE_SECONDS", 0.2)
    reader = make_reader(64 * MIB)
    reader.read(0, 4096)
    wait_until(lambda: reader.contents.transfers == 0)
    assert reader.cluster.streams[0].cancelled.is_set()


def test_a_stalled_transfer_is_replaced_long_before_the_deadline(
    make_reader: type[Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_module, "MIN_STALL", 0.2)
    monkeypatch.setattr(content_module, "MAX_WAIT", 0.05)
    reader = make_reader(6 * MIB, timeout=60.0)
    released, stalls = threading.Event(), iter([True])

    def stall_once(received: int, piece: bytes) -> bytes:
        if received >= 3 * MIB and next(stalls, False):
            released.wait(60)
        return piece

    reader.cluster.fault = stall_once
    started = time.monotonic()
    assert reader.read(0, len(reader.data)) == reader.data
    released.set()
    assert time.monotonic() - started < 20
    assert reader.contents.restarts == 1
    assert reader.cluster.opens[1][1] >= 2 * MIB, "it goes on where the stalled one was"


def test_a_broken_transfer_goes_on_where_it_broke(make_reader: type[Reader]) -> None:
    reader = make_reader(6 * MIB)
    faults = iter([3 * MIB, MIB])
    limit = next(faults)

    def break_at(received: int, piece: bytes) -> bytes:
        nonlocal limit
        if received >= limit:
            limit = next(faults, 1 << 60)
            raise ClusterUnreachableError("connection reset")
        return piece

    reader.cluster.fault = break_at
    assert reader.read(0, len(reader.data)) == reader.data


def test_a_stream_that_ends_early_is_not_the_end_of_the_file(make_reader: type[Reader]) -> None:
    reader = make_reader(3 * MIB)
    short = iter([True])
    reader.cluster.fault = lambda received, piece: None if received >= MIB and next(short, False) else piece
    assert reader.read(0, len(reader.data)) == reader.data


def test_damaged_bytes_are_an_error_never_data(make_reader: type[Reader]) -> None:
    reader = make_reader(10_000, timeout=0.5)
    reader.cluster.fault = lambda received, piece: b"\0" * len(piece)
    with pytest.raises(DataError, match="hash"):
        reader.read(0, 100)
    reader.cluster.fault = None
    assert reader.read(0, 100) == reader.data[:100]


def test_more_bytes_than_listed_are_an_error(make_reader: type[Reader]) -> None:
    reader = make_reader(2 * MIB, timeout=0.5)
    reader.cluster.fault = lambda received, piece: piece + b"x"
    with pytest.raises(DataError):
        reader.read(2 * MIB - 10, 10)


def test_an_outage_is_an_error_within_the_deadline_and_then_over(make_reader: type[Reader]) -> None:
    reader = make_reader(3 * MIB, timeout=0.5)

    def refuse(path: str, offset: int) -> None:
        raise ClusterUnreachableError("no cluster")

    reader.cluster.on_open = refuse
    started = time.monotonic()
    with pytest.raises(ClusterUnreachableError):
        reader.read(0, 10)
    assert time.monotonic() - started < 3
    reader.cluster.on_open = None
    assert reader.read(0, len(reader.data)) == reader.data


def test_a_stall_is_a_timeout(make_reader: type[Reader]) -> None:
    reader = make_reader(3 * MIB, timeout=0.3)
    release = threading.Event()

    def stall(received: int, piece: bytes) -> bytes:
        release.wait(20)
        return piece

    reader.cluster.fault = stall
    with pytest.raises(ClusterTimeoutError):
        reader.read(0, 10)
    release.set()
    assert reader.read(0, len(reader.data)) == reader.data


def test_a_refusal_is_not_retried(make_reader: type[Reader]) -> None:
    reader = make_reader(3 * MIB, timeout=30)

    def refuse(path: str, offset: int) -> None:
        raise LoginRequiredError("no token")

    reader.cluster.on_open = refuse
    with pytest.raises(LoginRequiredError):
        reader.read(0, 10)
    assert len(reader.cluster.opens) == 1


def test_the_number_of_transfers_is_bounded(make_reader: type[Reader], monkeypatch: pytest.MonkeyPatch) -> None:
    reader = make_reader(40 * MIB)
    for start in range(0, 40, 4):
        reader.read(start * MIB, 10)
    assert reader.contents.transfers <= 4


def test_hash_of_small_content() -> None:
    """Known values: the empty file, and one computed by a real server (conformance 03-listing)."""
    assert content_hash(b"").hex() == "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"
    assert len(content_hash(b"x" * BLOCK_BYTES)) == 32


def paused(reader: Reader) -> bool:
    return reader.cluster.sent_bytes >= 3 * MIB


def wait_until(condition: object, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "condition did not come true"
        time.sleep(0.005)


@pytest.fixture
def stalled() -> Iterator[threading.Event]:
    """Set: the cluster sends nothing; cleared at the end, so that no thread is left."""
    going_on = threading.Event()
    yield going_on
    going_on.set()


def test_a_read_of_many_blocks_has_one_deadline(make_reader: type[Reader], stalled: threading.Event) -> None:
    """Also when the wait for a place at the gate took most of it."""
    reader = make_reader(6 * MIB, timeout=0.6)

    def one_block_in_half_a_second(start: int, piece: bytes) -> bytes:
        if not start % BLOCK_BYTES:
            stalled.wait(0.5)
        return piece

    reader.cluster.fault = one_block_in_half_a_second
    begun = time.monotonic()
    with pytest.raises((ClusterTimeoutError, ClusterUnreachableError)):
        reader.read(0, len(reader.data))
    assert 0.5 < time.monotonic() - begun < 1.1
    reader.cluster.fault = lambda start, piece: (stalled.wait(20) and piece) or piece

    class Gate:
        def __enter__(self) -> None:
            time.sleep(0.5)  # others wait before us

        def __exit__(self, *_: object) -> None: ...

    begun = time.monotonic()
    with pytest.raises((ClusterTimeoutError, ClusterUnreachableError)):
        reader.contents.read(reader.digest, reader.origin, 5 * MIB, 10, Gate())  # type: ignore[arg-type]
    assert time.monotonic() - begun < 0.95
