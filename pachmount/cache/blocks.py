"""The block cache: pieces of content by hash, in memory first, then on disk; both bounded, the least used out first.

A block is BLOCK_BYTES of one content (the last may be shorter), named by (content hash, block number). What is asked
for often stays in memory; everything fetched is written behind to the disk store by one thread, in batches. A fetch
that runs ahead of the disk is held back, so that nothing has to be fetched twice; only a disk that does not get on at
all loses blocks. The cache may be deleted at any time, and a disk that is full or broken costs speed only.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from itertools import islice
from typing import Protocol

from pachmount.cache.pages import Block

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
WRITE_QUEUE_SHARE = 4
"""One part in so many of the memory may be blocks that wait for the disk."""
QUEUED_BLOCKS = 4096
"""So many of them at most, however small."""
BATCH_BYTES = 8 << 20
BATCH_BLOCKS = 1000
BATCH_SECONDS = 0.2
"""Blocks wait so long for others to be written with, unless there is a batch of them."""
STALL_SECONDS = 1.0
"""A disk that finished nothing for so long is not waited for: blocks go uncached."""
TIDY_SECONDS = 5.0
CLOSE_SECONDS = 10.0

BlockKey = tuple[bytes, int]
"""Content hash and block number."""


class BlockStore(Protocol):
    """Where blocks outlive the process."""

    def get(self, key: BlockKey) -> bytes | None: ...

    def put_many(self, blocks: list[tuple[BlockKey, Block]]) -> None: ...

    def contains(self, key: BlockKey) -> bool: ...

    def tidy(self) -> None: ...

    def close(self) -> None: ...


class Hits(Protocol):
    """Where one reader's hits are counted besides those of all."""

    memory_hits: int
    disk_hits: int


class BlockCache:
    """Thread-safe. `memory_limit` bounds the blocks held in memory (bytes), those that wait for the disk included."""

    def __init__(self, store: BlockStore | None, memory_limit: int) -> None:
        self.memory_limit = memory_limit
        self.memory_hits = 0
        self.disk_hits = 0
        self.dropped_writes = 0
        self._store = store
        self._lock = threading.Lock()
        self._written = threading.Condition(self._lock)
        self._work = threading.Condition(self._lock)
        self._loaded = threading.Condition(self._lock)
        self._blocks: OrderedDict[BlockKey, Block] = OrderedDict()
        self._queued: dict[BlockKey, Block] = {}
        self._loading: set[BlockKey] = set()
        self._block_bytes = 0
        self._queued_bytes = 0
        self._progress = time.monotonic()
        self._closing = False
        self._writer: threading.Thread | None = None
        if store is not None:
            self._writer = threading.Thread(target=self._write_behind, args=(store,), name="cache-writer", daemon=True)
            self._writer.start()

    @property
    def queue_limit(self) -> int:
        """How many bytes may wait for the disk."""
        return max(BLOCK_BYTES, self.memory_limit // WRITE_QUEUE_SHARE)

    @property
    def memory_bytes(self) -> int:
        with self._lock:
            return self._block_bytes + self._queued_bytes

    @property
    def queued_writes(self) -> int:
        """Bytes that wait for the disk."""
        return self._queued_bytes

    def get(self, key: BlockKey, hits: Hits | None = None) -> Block | None:
        """The block's bytes, or None if it has to be fetched. Threads that want one block read it from disk once."""
        with self._lock:
            while True:
                data = self._held(key)
                if data is not None:
                    self.memory_hits += 1
                    if hits is not None:
                        hits.memory_hits += 1
                    return data
                if self._store is None:
                    return None
                if key not in self._loading or not self._loaded.wait(STALL_SECONDS):
                    break
            self._loading.add(key)
        data = None
        try:
            data = self._store.get(key)
        finally:
            with self._lock:
                self._loading.discard(key)
                if data is not None:
                    self.disk_hits += 1
                    if hits is not None:
                        hits.disk_hits += 1
                    self._keep(key, data)
                self._loaded.notify_all()
        return data

    def contains(self, key: BlockKey) -> bool:
        """Whether `get` would find the block, without reading it."""
        return key in self._blocks or key in self._queued or (self._store is not None and self._store.contains(key))

    def stored(self, key: BlockKey) -> bool:
        """Whether the block is on disk, so that it outlives its time in memory."""
        return self._store is not None and self._store.contains(key)

    def put(self, key: BlockKey, data: Block) -> None:
        """Keep a fetched block. It can be had at once; the caller is held back while too much waits for the disk."""
        with self._lock:
            if key in self._queued:
                return
            self._keep(key, data)
            if self._writer is None or self._closing:
                return
            while self._queued and not self._has_room(data):
                patience = self._progress + STALL_SECONDS - time.monotonic()
                if patience <= 0:
                    self.dropped_writes += 1
                    return
                self._written.wait(patience)
            if key in self._queued:
                return
            if not self._queued:
                self._progress = time.monotonic()
                self._work.notify()
            self._forget(key)
            self._queued[key] = data
            self._queued_bytes += len(data)
            self._trim()
            if self._is_batch():
                self._work.notify()

    def close(self) -> None:
        """Write what is queued and close the store."""
        if self._writer is not None:
            with self._lock:
                self._closing = True
                self._work.notify()
            self._writer.join(timeout=CLOSE_SECONDS)
            if self._writer.is_alive():
                log.warning("the block cache did not write %d blocks in time", len(self._queued))
        if self._store is not None:
            self._store.close()

    def _write_behind(self, store: BlockStore) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                if batch:
                    store.put_many(batch)
                else:
                    store.tidy()
            except Exception:
                log.exception("cannot write to the block cache")
            with self._lock:
                self._progress = time.monotonic()
                for key, data in batch:
                    del self._queued[key]
                    self._queued_bytes -= len(data)
                    self._keep(key, data)
                self._written.notify_all()

    def _next_batch(self) -> list[tuple[BlockKey, Block]] | None:
        """What to write next; nothing when it is time to tidy up; None at the end."""
        with self._lock:
            idle_until = time.monotonic() + TIDY_SECONDS
            while True:
                now = time.monotonic()
                ripe = self._progress + BATCH_SECONDS if self._queued else idle_until
                if now >= ripe or self._closing or self._is_batch():
                    break
                self._work.wait(ripe - now)
            if self._closing and not self._queued:
                return None
            batch, size = [], 0
            for key, data in islice(self._queued.items(), BATCH_BLOCKS):
                batch.append((key, data))
                size += len(data)
                if size >= BATCH_BYTES:
                    break
            return batch

    # --- everything below is called with the lock held

    def _is_batch(self) -> bool:
        return len(self._queued) >= BATCH_BLOCKS or self._queued_bytes >= min(BATCH_BYTES, self.queue_limit // 2)

    def _has_room(self, data: Block) -> bool:
        return self._queued_bytes + len(data) <= self.queue_limit and len(self._queued) < QUEUED_BLOCKS

    def _held(self, key: BlockKey) -> Block | None:
        data = self._blocks.get(key)
        if data is None:
            return self._queued.get(key)
        self._blocks.move_to_end(key)
        return data

    def _keep(self, key: BlockKey, data: Block) -> None:
        """Hold a block in memory as the one used last."""
        self._forget(key)
        self._blocks[key] = data
        self._block_bytes += len(data)
        self._trim()

    def _forget(self, key: BlockKey) -> None:
        data = self._blocks.pop(key, None)
        if data is not None:
            self._block_bytes -= len(data)

    def _trim(self) -> None:
        while self._block_bytes + self._queued_bytes > self.memory_limit and self._blocks:
            self._block_bytes -= len(self._blocks.popitem(last=False)[1])
