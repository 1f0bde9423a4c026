"""Fetching many small files at once: archives of ranges of paths, unpacked into the cache, awaited by readers.

A batch is never the only way to a file: whatever it does not bring, in time and unharmed, its readers fetch alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pachmount.cache.blocks import BlockCache
from pachmount.errors import DataError, PachmountError
from pachmount.pfs.model import ByteStream, CommitReader, CommitRef
from pachmount.vfs.hashes import content_hash
from pachmount.vfs.ranges import PathRange
from pachmount.vfs.tar import members

MAX_BATCHES = 8
MAX_BATCH_BYTES = 32 << 20
MEMORY_SHARE = 4
"""One batch may take one part in so many of the memory, all together twice that."""
GROUP_BYTES = 256 << 10
"""What is unpacked before it goes to the cache and to the readers together."""
PATIENCE = 2.0
"""Seconds without progress after which a reader helps itself."""
EXPENDABLE_AFTER = 2.0
"""Seconds after which a batch that nobody waits for makes room for another one."""
BATCH_SECONDS = 1.0
"""A batch should not take longer than this: that bounds its size where the cluster is slow."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a batch fetches: ranges of paths, and the size in bytes and hash of each wanted file."""

    ranges: tuple[PathRange, ...]
    files: dict[bytes, tuple[int, bytes]]


class Batch:
    """One batch, in a thread of its own: makes its plan, then fetches. `ended` is called once, with how it went."""

    def __init__(
        self,
        reader: CommitReader,
        commit: CommitRef,
        size: int,
        make_plan: Callable[[], Plan],
        bundles: Bundles,
        ended: Callable[[Batch], None],
    ) -> None:
        """`size` is an upper bound of the bytes that are wanted."""
        self.size = size
        self.received_bytes = 0
        self.error: PachmountError | None = None
        self.started_at = self.progress_at = time.monotonic()
        self.stalled = False
        self.digests: frozenset[bytes] = frozenset()
        self.pending: set[bytes] | None = None  # hashes that are to come; None while there is no plan
        self._reader = reader
        self._commit = commit
        self._make_plan = make_plan
        self._bundles = bundles
        self._ended = ended
        self._changed = threading.Condition()
        self._waiting: Counter[bytes] = Counter()
        self._arrived: dict[bytes, bytes] = {}
        self._stream: ByteStream | None = None
        self._cancelled = self._done = False

    def start(self) -> None:
        threading.Thread(target=self._run, name="small-files", daemon=True).start()

    @property
    def expendable(self) -> bool:
        """Whether nobody waits for it, and it had its time."""
        return not self._waiting and time.monotonic() - self.started_at > EXPENDABLE_AFTER

    def cancel(self) -> None:
        with self._changed:
            self._cancelled = True
            stream = self._stream
            self._changed.notify_all()
        if stream is not None:
            stream.cancel()

    def wait(self, digest: bytes, deadline: float) -> bytes | None:
        """The content, once it is there; None if this batch will not bring it, or not soon."""
        with self._changed:
            self._waiting[digest] += 1
            try:
                while digest not in self._arrived:
                    if self._done or self._cancelled or (self.pending is not None and digest not in self.pending):
                        return None
                    now, give_up = time.monotonic(), self.progress_at + PATIENCE
                    if now >= give_up:
                        self.stalled = True
                    if now >= min(give_up, deadline):
                        return None
                    self._changed.wait(min(give_up, deadline) - now)
                return self._arrived[digest]
            finally:
                self._waiting[digest] -= 1
                if not self._waiting[digest]:
                    del self._waiting[digest]
                    self._arrived.pop(digest, None)

    def _run(self) -> None:
        try:
            plan = self._make_plan()
            self.digests = frozenset(digest for _, digest in plan.files.values())
            self._bundles.expect(self)
            with self._changed:
                self.pending = set(self.digests)
                self._changed.notify_all()
            for within in plan.ranges:
                self._fetch(within, plan.files)
        except PachmountError as failure:
            self.error = None if self._cancelled else failure
        except Exception as failure:
            log.exception("a batch of small files of %s failed", self._commit)
            self.error = PachmountError("cannot read small files", str(failure))
        with self._changed:
            self._done = True
            self._changed.notify_all()
        self._bundles.end(self)
        self._ended(self)

    def _fetch(self, within: PathRange, files: dict[bytes, tuple[int, bytes]]) -> None:
        with self._changed:
            if self._cancelled:
                return
            stream = self._reader.open_tar(
                self._commit, within.directory.decode(), within.lower.decode(), within.upper.decode()
            )
            self._stream = stream
        missing = set(within.wanted)
        group: list[tuple[bytes, bytes]] = []
        size = 0
        try:
            pieces = self._pieces(stream)
            for name, data in members(pieces, lambda name, size: name in missing and files[name][0] == size):
                if data is not None and content_hash(data) == files[name][1]:
                    missing.discard(name)
                    group.append((files[name][1], data))
                    size += len(data)
                if size > GROUP_BYTES:
                    self._deliver(group)
                    group, size = [], 0
                if not missing or name >= within.upper:
                    break
        finally:
            self._deliver(group)
            stream.cancel()
        if missing and not self._cancelled:
            raise DataError(f"{len(missing)} of {len(within.wanted)} small files did not come, or not as listed")

    def _pieces(self, stream: ByteStream) -> Iterator[memoryview]:
        for piece in stream:
            self.received_bytes += len(piece)
            self.progress_at = time.monotonic()
            yield piece

    def _deliver(self, group: list[tuple[bytes, bytes]]) -> None:
        """To those who wait, then to the cache; only then is a content no longer on its way."""
        with self._changed:
            self._arrived.update((digest, data) for digest, data in group if digest in self._waiting)
            if self._arrived:
                self._changed.notify_all()
        for digest, data in group:
            self._bundles.cache.put((digest, 0), data)
        with self._changed:
            if self.pending is not None:
                self.pending.difference_update(digest for digest, _ in group)
            if self._waiting:
                self._changed.notify_all()


class Bundles:
    """All batches of all mounts: bounded in number and in bytes; which contents are on their way."""

    def __init__(
        self, cache: BlockCache, account: Callable[[int], None], is_being_fetched: Callable[[bytes], bool]
    ) -> None:
        """`account` is told how many bytes came from the cluster; `is_being_fetched` is of contents fetched alone."""
        self.cache = cache
        self.max_batch_bytes = min(MAX_BATCH_BYTES, cache.memory_limit // MEMORY_SHARE)
        self._account = account
        self._is_being_fetched = is_being_fetched
        self._lock = threading.Lock()
        self._batches: list[Batch] = []
        self._expected: dict[bytes, Batch] = {}
        self._rate = float(MAX_BATCH_BYTES)

    @property
    def batches(self) -> int:
        return len(self._batches)

    @property
    def batch_bytes(self) -> int:
        """How large a batch should be at most, going by how fast they came lately."""
        return min(self.max_batch_bytes, int(self._rate * BATCH_SECONDS))

    def on_its_way(self, digest: bytes) -> Batch | None:
        return self._expected.get(digest)

    def is_needed(self, digest: bytes) -> bool:
        """Whether a content is neither there nor on its way."""
        return not (self.cache.contains((digest, 0)) or digest in self._expected or self._is_being_fetched(digest))

    def add(self, batch: Batch) -> bool:
        """Start a batch, if there is room for it."""
        surplus: Batch | None = None
        with self._lock:
            limit = 2 * self.max_batch_bytes
            if len(self._batches) >= MAX_BATCHES or sum(b.size for b in self._batches) + batch.size > limit:
                surplus = next((b for b in self._batches if b.expendable), None)
                if surplus is None:
                    return False
                self._batches.remove(surplus)
            self._batches.append(batch)
        if surplus is not None:
            surplus.cancel()
        batch.start()
        return True

    def expect(self, batch: Batch) -> None:
        """From now on `on_its_way` knows what the batch will bring."""
        with self._lock:
            for digest in batch.digests:
                self._expected.setdefault(digest, batch)

    def end(self, batch: Batch) -> None:
        seconds = time.monotonic() - batch.started_at
        with self._lock:
            if batch in self._batches:
                self._batches.remove(batch)
            for digest in batch.digests:
                if self._expected.get(digest) is batch:
                    del self._expected[digest]
            if batch.received_bytes >= GROUP_BYTES:
                self._rate = (self._rate + batch.received_bytes / seconds) / 2
        self._account(batch.received_bytes)

    def close(self) -> None:
        """End all batches."""
        with self._lock:
            batches = list(self._batches)
        for batch in batches:
            batch.cancel()
