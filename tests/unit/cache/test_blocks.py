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
IN_MEMORY = 6
"""Blocks that fit beside the write queue's share of LIMIT."""


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
    for number in range(IN_MEMORY):
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
    assert cache.disk_hits >= 20 - IN_MEMORY
    assert cache.memory_bytes <= LIMIT
    assert all(cache.contains(key(number)) for number in range(20))


def test_a_slow_disk_delays_a_fetch_only_so_long(
    make_cache: Callable[..., BlockCache], store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks_module, "WRITE_PATIENCE", 0.05)
    cache = make_cache(store)
    store.gate.clear()
    cache.put(key(0), block(0))
    assert store.writing.wait(5)
    started = time.monotonic()
    for number in range(1, 10):
        cache.put(key(number), block(number))
        assert cache.queued_writes <= cache.queue_limit
    assert time.monotonic() - started < 5
    assert cache.dropped_writes == 9 - cache.queue_limit
    assert cache.get(key(9)) == block(9), "what was not written is in memory all the same"
    store.gate.set()
    wait_until(lambda: len(store.blocks) == 1 + cache.queue_limit)


def test_the_queue_counts_against_the_memory_limit(make_cache: Callable[..., BlockCache]) -> None:
    for limit in (BLOCK_BYTES * 16, BLOCK_BYTES * 64):
        cache = make_cache(None, limit)
        for number in range(100):
            cache.put(key(number), block(number))
        assert cache.memory_bytes + cache.queue_limit * BLOCK_BYTES <= limit


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
    for number in range(3):
        cache.put(key(number), block(number))
    store.gate.set()
    cache.close()
    assert len(store.blocks) == 3
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
    assert store.batches == [1, 10]


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
    with cache._lock:
        assert cache.memory_bytes == sum(map(len, cache._blocks.values()))


def wait_until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "condition did not come true"
        time.sleep(0.005)
