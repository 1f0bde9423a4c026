"""The block cache: pieces of content by hash, in memory first, then on disk; both bounded, the least used out first.

A block is BLOCK_BYTES of one content (the last may be shorter), named by (content hash, block number). What is asked
for often stays in memory; everything fetched is written behind to the disk store by one thread, so that no reader waits
for a disk write. The cache may be deleted at any time, and a disk that is full or broken costs speed only.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import OrderedDict
from typing import Protocol

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
WRITE_QUEUE_SHARE = 4
"""One part in so many of the memory is for blocks that wait for the disk."""
WRITE_PATIENCE = 0.05
"""Seconds that a fetch which runs ahead of the disk waits before its block goes uncached."""
CLOSE_SECONDS = 10.0

BlockKey = tuple[bytes, int]
"""Content hash and block number."""


class BlockStore(Protocol):
    """Where blocks outlive the process."""

    def get(self, key: BlockKey) -> bytes | None: ...

    def put_many(self, blocks: list[tuple[BlockKey, bytes]]) -> None: ...

    def contains(self, key: BlockKey) -> bool: ...

    def close(self) -> None: ...


class BlockCache:
    """Thread-safe. `memory_limit` bounds the blocks held in memory (bytes), the write queue's included."""

    def __init__(self, store: BlockStore | None, memory_limit: int) -> None:
        self.memory_limit = memory_limit
        self.memory_bytes = 0
        self.memory_hits = 0
        self.disk_hits = 0
        self.dropped_writes = 0
        self._store = store
        self._lock = threading.Lock()
        self._blocks: OrderedDict[BlockKey, bytes] = OrderedDict()
        self.queue_limit = max(1, memory_limit // WRITE_QUEUE_SHARE // BLOCK_BYTES)
        self._limit = memory_limit - self.queue_limit * BLOCK_BYTES
        self._queue: queue.Queue[tuple[BlockKey, bytes] | None] = queue.Queue(self.queue_limit)
        self._writer: threading.Thread | None = None
        if store is not None:
            self._writer = threading.Thread(target=self._write_behind, args=(store,), name="cache-writer", daemon=True)
            self._writer.start()

    def get(self, key: BlockKey) -> bytes | None:
        """The block's bytes, or None if it has to be fetched."""
        with self._lock:
            data = self._blocks.get(key)
            if data is not None:
                self._blocks.move_to_end(key)
                self.memory_hits += 1
                return data
        data = self._store.get(key) if self._store is not None else None
        if data is None:
            return None
        self.disk_hits += 1
        self._remember(key, data)
        return data

    def contains(self, key: BlockKey) -> bool:
        """Whether `get` would find the block, without reading it."""
        return key in self._blocks or (self._store is not None and self._store.contains(key))

    def put(self, key: BlockKey, data: bytes) -> None:
        """Keep a fetched block; a full write queue delays the caller for WRITE_PATIENCE seconds at most."""
        self._remember(key, data)
        if self._writer is None:
            return
        try:
            self._queue.put((key, data), timeout=WRITE_PATIENCE)
        except queue.Full:
            self.dropped_writes += 1

    @property
    def queued_writes(self) -> int:
        return self._queue.qsize()

    def close(self) -> None:
        """Write what is queued and close the store."""
        if self._writer is not None:
            try:
                self._queue.put(None, timeout=CLOSE_SECONDS)
                self._writer.join(timeout=CLOSE_SECONDS)
            except queue.Full:
                log.warning("the block cache did not write %d blocks in time", self._queue.qsize())
        if self._store is not None:
            self._store.close()

    def _remember(self, key: BlockKey, data: bytes) -> None:
        with self._lock:
            previous = self._blocks.pop(key, None)
            if previous is not None:
                self.memory_bytes -= len(previous)
            self._blocks[key] = data
            self.memory_bytes += len(data)
            while self.memory_bytes > self._limit and len(self._blocks) > 1:
                self.memory_bytes -= len(self._blocks.popitem(last=False)[1])

    def _write_behind(self, store: BlockStore) -> None:
        while (first := self._queue.get()) is not None:
            batch, last = [first], False
            while len(batch) < self.queue_limit:
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    last = True
                    break
                batch.append(item)
            try:
                store.put_many(batch)
            except Exception:
                log.exception("cannot write to the block cache")
            if last:
                return
