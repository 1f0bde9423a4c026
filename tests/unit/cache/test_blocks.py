"""The block cache in memory: bounds, what goes first, writing behind, and a store that misbehaves."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pachmount.cache import blocks as blocks_module
from pachmount.cache.blocks import BLOCK_BYTES, BlockCache, BlockKey

LIMIT = 8 * BLOCK_BYTES
QUEUED = 2
"""Blocks that may wait for the disk under LIMIT."""


class FakeStore:
    """A dictionary; `gate` holds writes back, `fault` makes them fail."""

    def __init__(self) -> None:
        self.blocks: dict[BlockKey, bytes] = {}
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.writing = threading.Event()
        self.fault: Exception | None = None
        self.closed = False
        self.tidied = threading.Event()

    def get(self, key: BlockKey) -> bytes | None:
        return self.blocks.get(key)

    def contains(self, key: BlockKey) -> bool:
        return key in self.blocks

    def put_many(self, blocks: list[tuple[BlockKey, bytes]]) -> None:
        self.writing.set()
        assert self.gate.wait(10)
        self.batches.append(len(blocks))
        if self.fault is not None:
            raise self.fault
        self.blocks.update(blocks)

    def tidy(self) -> None:
        self.tidied.set()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def make_cache() -> Iterator[Callable[..., BlockCache]]:
    made: list[tuple[BlockCache, FakeStore | None]] = []

    def make(store: FakeStore | None, limit: int = LIMIT) -> BlockCache:
        made.append((BlockCache(store, limit), store))
        return made[-1][0]

    yield make
    for cache, store in made:
        if store is not None:
            store.gate.set()
        cache.close()


def key(number: int) -> BlockKey:
    return (b"h" * 32, number)


def block(number: int) -> bytes:
    return bytes([number % 256]) * BLOCK_BYTES


def test_memory_is_bounded_and_the_least_used_goes_first(make_cache: Callable[..., BlockCache]) -> None:
    cache = make_cache(None)
    for number in range(8):
        cache.put(key(number), block(number))
    assert cache.get(key(0)) == block(0), "now used last"
    cache.put(key(99), block(99))
    assert cache.memory_bytes <= LIMIT
    assert cache.get(key(1)) is None
    assert cache.get(key(0)) == block(0)
    assert cache.get(key(99)) == block(99)
    assert (cache.memory_hits, cache.disk_hits) == (3, 0)


def test_blocks_of_any_size_are_counted_by_their_bytes(make_cache: Callable[..., BlockCache]) -> None:
    cache = make_cache(None)
    for number in range(10_000):
        cache.put(key(number), b"x" * 100)
    assert cache.memory_bytes == 10_000 * 100
    cache.put(key(1), b"y" * 50)
    assert cache.memory_bytes == 10_000 * 100 - 50
    assert cache.get(key(1)) == b"y" * 50


def test_the_empty_block_is_a_block(make_cache: Callable[..., BlockCache]) -> None:
    cache = make_cache(None)
    cache.put(key(0), b"")
    assert cache.get(key(0)) == b""
    assert cache.contains(key(0))
    assert not cache.contains(key(1))


def test_what_left_memory_comes_from_the_disk(make_cache: Callable[..., BlockCache], store: FakeStore) -> None:
    cache = make_cache(store)
    for number in range(20):
        cache.put(key(number), block(number))
    wait_until(lambda: len(store.blocks) == 20)
    assert all(cache.get(key(number)) == block(number) for number in range(20))
    assert cache.disk_hits >= 20 - 8
    assert cache.memory_bytes <= LIMIT
    assert all(cache.contains(key(number)) for number in range(20))


def test_a_fetch_that_runs_ahead_of_the_disk_waits_for_it(
    make_cache: Callable[..., BlockCache], store: FakeStore
) -> None:
    cache = make_cache(store)
    store.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        putting = pool.submit(lambda: [cache.put(key(number), block(number)) for number in range(20)])
        assert store.writing.wait(5)
        wait_until(lambda: cache.contains(key(QUEUED)))
        assert not putting.done()
        assert cache.get(key(QUEUED)) == block(QUEUED), "who waits for it has it at once"
        store.gate.set()
        putting.result(10)
    wait_until(lambda: len(store.blocks) == 20)
    assert cache.dropped_writes == 0


def test_a_disk_that_gets_nowhere_is_not_waited_for(
    make_cache: Callable[..., BlockCache], store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks_module, "STALL_SECONDS", 0.2)
    cache = make_cache(store)
    store.gate.clear()
    started = time.monotonic()
    for number in range(10):
        cache.put(key(number), block(number))
        assert cache.queued_writes <= cache.queue_limit
        assert cache.memory_bytes <= LIMIT
    assert time.monotonic() - started < 2, "once for all of them"
    assert cache.dropped_writes == 10 - QUEUED
    assert cache.get(key(9)) == block(9), "what is not written is in memory all the same"
    assert cache.get(key(0)) == block(0), "and what waits is not forgotten before"
    store.gate.set()
    wait_until(lambda: len(store.blocks) == QUEUED)
    cache.put(key(20), block(20))
    wait_until(lambda: key(20) in store.blocks)


def test_small_blocks_are_written_many_at_once(make_cache: Callable[..., BlockCache], store: FakeStore) -> None:
    cache = make_cache(store, 64 * BLOCK_BYTES)
    for number in range(10_000):
        cache.put(key(number), b"%d" % number)
    wait_until(lambda: len(store.blocks) == 10_000)
    assert cache.dropped_writes == 0
    assert len(store.batches) < 50


def test_threads_that_want_one_block_read_it_once(
    make_cache: Callable[..., BlockCache], store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.blocks[key(1)] = block(1)
    reads = []

    def read(wanted: BlockKey) -> bytes:
        reads.append(wanted)
        time.sleep(0.05)
        return store.blocks[wanted]

    monkeypatch.setattr(store, "get", read)
    cache = make_cache(store)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: cache.get(key(1)), range(8))) == {block(1)}
    assert reads == [key(1)]


def test_an_idle_cache_tidies_up(
    make_cache: Callable[..., BlockCache], store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks_module, "TIDY_SECONDS", 0.05)
    make_cache(store)
    assert store.tidied.wait(5)


def test_a_disk_that_fails_costs_nothing_but_the_block(
    make_cache: Callable[..., BlockCache], store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make_cache(store)
    store.fault = OSError("disk on fire")
    with caplog.at_level(logging.ERROR):
        cache.put(key(0), block(0))
        wait_until(lambda: store.batches)
        store.fault = None
        cache.put(key(1), block(1))
        wait_until(lambda: key(1) in store.blocks)
    assert "disk on fire" in caplog.text
    assert cache.get(key(0)) == block(0)


def test_closing_writes_what_is_queued(make_cache: Callable[..., BlockCache], store: FakeStore) -> None:
    cache = make_cache(store)
    store.gate.clear()
    for number in range(QUEUED):
        cache.put(key(number), block(number))
    store.gate.set()
    cache.close()
    assert len(store.blocks) == QUEUED
    assert store.closed


def test_writes_are_batched(make_cache: Callable[..., BlockCache], store: FakeStore) -> None:
    cache = make_cache(store, 64 * BLOCK_BYTES)
    store.gate.clear()
    cache.put(key(0), block(0))
    assert store.writing.wait(5)
    for number in range(1, 11):
        cache.put(key(number), block(number))
    store.gate.set()
    wait_until(lambda: len(store.blocks) == 11)
    assert store.batches == [1, 8, 2]


def test_many_threads_at_once(make_cache: Callable[..., BlockCache], store: FakeStore) -> None:
    cache = make_cache(store)

    def work(seed: int) -> None:
        generator = random.Random(seed)
        for _ in range(300):
            number = generator.randrange(40)
            if generator.random() < 0.4:
                cache.put(key(number), bytes([number]) * (1 + number * 1000))
            else:
                found = cache.get(key(number))
                assert found in (None, bytes([number]) * (1 + number * 1000))
            assert cache.memory_bytes <= LIMIT

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, seed) for seed in range(8)]:
            done.result()
    wait_until(lambda: not cache.queued_writes)
    assert cache.memory_bytes == sum(map(len, cache._blocks.values()))


def wait_until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "condition did not come true"
        time.sleep(0.005)
