"""Reading content by range: from the cache, else from a transfer that is on its way there, else from a new one.

A content is known by its hash, whatever commit, branch or repo it was found in. Each block is fetched once, however
many readers wait for it. Locks: `_lock` guards the table of contents and the list of transfers, each content's
condition its own transfers and waiting readers; the cache has its own. No lock is held over a call to the cluster.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from contextlib import AbstractContextManager

from pachmount.cache.blocks import BLOCK_BYTES, BlockCache
from pachmount.cache.pages import Block
from pachmount.errors import ClusterTimeoutError, ClusterUnreachableError, DataError, PachmountError
from pachmount.vfs.bundle import Bundles
from pachmount.vfs.hashes import VERIFIABLE_BYTES, content_hash
from pachmount.vfs.stream import Origin, Transfer

log = logging.getLogger(__name__)

MAX_TRANSFERS = 32
MAX_TRANSFERS_PER_CONTENT = 4
SKIP_BLOCKS = 16
"""A transfer that is at most this far behind a wanted block is waited for rather than replaced."""
READ_AHEAD_SHARE = 3
"""One reader runs ahead by at most one part in so many of the memory: else its blocks are gone before it comes."""
FIRST_RETRY_PAUSE = 0.1
MAX_RETRY_PAUSE = 2.0
MAX_WAIT = 1.0
"""Seconds after which a reader looks anew whether a transfer could be started for it."""
STALL_FACTOR = 5
"""A transfer is taken for stalled when it needs so many times as long for its next bytes as nine in ten
blocks took lately."""
MIN_STALL = 2.0
WAITS_KEPT = 50


class Contents:
    """All contents that are being read. `timeout` (s) bounds each read, `read_ahead` (bytes) each transfer's lead."""

    def __init__(self, cache: BlockCache, timeout: float, read_ahead: int) -> None:
        self.cache = cache
        self.fetched_bytes = 0
        self.misses = 0
        self.retries = 0
        self.timeout = timeout
        self.read_ahead = read_ahead
        self._lock = threading.Lock()
        self._active: dict[bytes, _Content] = {}
        self._transfers: list[Transfer] = []
        self._waits: deque[float] = deque(maxlen=WAITS_KEPT)
        self.restarts = 0
        self.bundles = Bundles(cache, self._account, self._active.__contains__)

    @property
    def stall_seconds(self) -> float:
        """After how long without a byte a transfer is given up for a new one, by what was usual lately."""
        waits = sorted(self._waits)
        usual = waits[len(waits) * 9 // 10] if waits else self.timeout
        return min(max(MIN_STALL, STALL_FACTOR * usual), self.timeout / 3)

    @property
    def _max_window(self) -> int:
        """How many blocks a transfer may be ahead of its readers."""
        return max(1, min(self.read_ahead, self.cache.memory_limit // READ_AHEAD_SHARE) // BLOCK_BYTES)

    def note_wait(self, seconds: float) -> None:
        """A block came after a reader had waited so long for it."""
        self._waits.append(seconds)

    @property
    def transfers(self) -> int:
        """Streams from the cluster, batches of small files among them."""
        return len(self._transfers) + self.bundles.batches

    def read(self, digest: bytes, origin: Origin, offset: int, size: int, gate: AbstractContextManager[None]) -> Block:
        """Exactly the bytes [offset, offset + size) of the content, less only at its end.

        `gate` is held while waiting for the cluster.
        Raises a PachmountError: after `timeout` at the latest, the wait at the gate and all blocks included, and never
        returns wrong or missing bytes.
        """
        deadline = time.monotonic() + self.timeout
        end = min(offset + size, origin.size)
        if offset >= end:
            return b""
        first, last = offset // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        start = offset - first * BLOCK_BYTES
        if first == last:
            return self._block(digest, origin, first, gate, deadline)[start : start + end - offset]
        pieces = [self._block(digest, origin, number, gate, deadline) for number in range(first, last + 1)]
        return b"".join(pieces)[start : start + end - offset]

    def close(self) -> None:
        """End all transfers."""
        with self._lock:
            transfers = list(self._transfers)
        for transfer in transfers:
            transfer.cancel()
        self.bundles.close()

    def _account(self, received_bytes: int) -> None:
        with self._lock:
            self.fetched_bytes += received_bytes

    def _block(
        self, digest: bytes, origin: Origin, number: int, gate: AbstractContextManager[None], deadline: float
    ) -> Block:
        data = self.cache.get((digest, number), origin.statistics)
        if data is not None:
            active = self._active.get(digest)
            if active is not None:
                active.note_use(number)
            if origin.neighbours is not None:
                origin.neighbours.used(origin.path.encode())
            return data
        with self._lock:
            self.misses += 1
            origin.statistics.misses += 1
        with gate:
            if origin.neighbours is not None and digest not in self._active:
                data = origin.neighbours.fetch(origin.path.encode(), digest, deadline - self.timeout / 2)
                if data is not None:
                    return data
            with self._lock:
                content = self._active.get(digest)
                if content is None:
                    content = self._active[digest] = _Content(self, digest)
                content.users += 1
            try:
                return content.fetch(origin, number, deadline)
            finally:
                self._release(content)

    def _release(self, content: _Content) -> None:
        with self._lock:
            content.users -= 1
            if not content.users:
                self._active.pop(content.digest, None)

    def new_transfer(self, content: _Content, origin: Origin, number: int) -> Transfer | None:
        """Register a transfer; None while there are MAX_TRANSFERS busy ones. A paused one makes room."""
        idle: Transfer | None = None
        with self._lock:
            if len(self._transfers) >= MAX_TRANSFERS:
                paused = [transfer for transfer in self._transfers if transfer.paused]
                if not paused:
                    return None
                idle = min(paused, key=lambda transfer: transfer.used_at)
                self._transfers.remove(idle)
            transfer = Transfer(origin, number, self._max_window, content.deliver, content.ended)
            self._transfers.append(transfer)
            content.users += 1
        if idle is not None:
            idle.cancel()
        return transfer

    def end_transfer(self, content: _Content, transfer: Transfer) -> None:
        with self._lock:
            self.fetched_bytes += transfer.received_bytes
            if transfer in self._transfers:
                self._transfers.remove(transfer)
        self._release(content)


class _Content:
    """The transfers and waiting readers of one content. `users` counts both; guarded by the lock of Contents."""

    def __init__(self, contents: Contents, digest: bytes) -> None:
        self.digest = digest
        self.users = 0
        self._contents = contents
        self._changed = threading.Condition()
        self._transfers: list[Transfer] = []
        self._waiting: Counter[int] = Counter()
        self._delivered: dict[int, Block] = {}
        self._arriving: dict[int, Block] = {}
        self._failures = 0
        self._endings = 0
        self._error: PachmountError | None = None

    def note_use(self, number: int) -> None:
        """Tell the transfer that fetched block `number` that its reader came that far."""
        with self._changed:
            transfers = [t for t in self._transfers if number < t.next_block]
        if transfers:
            min(transfers, key=lambda t: t.next_block - number).want(number)

    def fetch(self, origin: Origin, number: int, deadline: float) -> Block:
        """Wait for a block, starting transfers and starting them again after passing faults."""
        pause = FIRST_RETRY_PAUSE
        began = time.monotonic()
        patience = self._contents.stall_seconds
        with self._changed:
            self._waiting[number] += 1
            failures = self._failures
        try:
            while True:
                data = self._contents.cache.get((self.digest, number))
                if data is None:
                    endings = self._endings
                    if self._end_stalled(number, patience):
                        patience *= 2  # the whole cluster may be slow: then a new transfer is no faster
                    self._transfer_for(origin, number)
                    data = self._wait(number, failures, endings, deadline)
                    if data is not None:
                        self._contents.note_wait(time.monotonic() - began)
                if data is not None:
                    return data
                with self._changed:
                    error = self._error if self._failures != failures else None
                    failures = self._failures
                if error is not None and not _is_transient(error):
                    raise error
                if time.monotonic() + (pause if error else 0) >= deadline:
                    raise error or ClusterTimeoutError(f"reading '{origin.path}' took too long", "no data came in time")
                if error is not None:
                    self._contents.retries += 1
                    time.sleep(pause)
                    pause = min(MAX_RETRY_PAUSE, 2 * pause)
        finally:
            with self._changed:
                self._waiting[number] -= 1
                if not self._waiting[number]:
                    del self._waiting[number]
                    self._delivered.pop(number, None)

    def _wait(self, number: int, failures: int, endings: int, deadline: float) -> Block | None:
        """Wait until a block is delivered, a transfer fails or ends (since the counts given), or MAX_WAIT is over."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._at_hand(number) is not None or self._failures != failures or self._endings != endings,
                max(0.0, min(MAX_WAIT, deadline - time.monotonic())),
            )
            return self._at_hand(number)

    def _at_hand(self, number: int) -> Block | None:
        """A block that the cache may not have any more, or not yet. Called with the condition held."""
        return self._delivered.get(number) or self._arriving.get(number)

    def deliver(self, transfer: Transfer, number: int, data: Block) -> bool:
        """A transfer completed a block: check it where that can be done, keep it, wake its readers.

        Whether the transfer should go on: not when what follows is there already or another transfer is at it.
        """
        origin = transfer.origin
        if origin.has_hash and origin.size < VERIFIABLE_BYTES and content_hash(data) != self.digest:
            raise DataError(f"'{origin.path}' does not match its hash", "the data was damaged on the way")
        following = number + 1
        have_following = following < origin.blocks and self._contents.cache.contains((self.digest, following))
        with self._changed:
            if number in self._waiting:
                self._delivered[number] = data
            self._arriving[number] = data
            transfer.next_block = following
            others = (t for t in self._transfers if t is not transfer)
            useful = not have_following and not any(t.first_block <= following <= t.next_block for t in others)
            if not useful:
                self._remove(transfer)
            self._changed.notify_all()
        try:
            self._contents.cache.put((self.digest, number), data)
        finally:
            with self._changed:
                self._arriving.pop(number, None)
        return useful or following == origin.blocks

    def ended(self, transfer: Transfer, error: PachmountError | None) -> None:
        with self._changed:
            self._remove(transfer)
            if error is not None:
                self._error = error
                self._failures += 1
            self._changed.notify_all()
        self._contents.end_transfer(self, transfer)

    def _remove(self, transfer: Transfer) -> None:
        """Readers that waited for this transfer must look for another one. Called with the condition held."""
        if transfer in self._transfers:
            self._transfers.remove(transfer)
            self._endings += 1
            self._changed.notify_all()

    def _end_stalled(self, number: int, patience: float) -> bool:
        """Give up the transfer that block `number` is waited of, if no bytes have come for `patience` seconds."""
        with self._changed:
            stalled = [
                t for t in self._transfers if 0 <= number - t.next_block <= SKIP_BLOCKS and t.stalled_for() > patience
            ]
            for transfer in stalled:
                self._remove(transfer)
        for transfer in stalled:
            log.info("no bytes of %s for %.1f s: asking again", transfer.origin.path, transfer.stalled_for())
            self._contents.restarts += 1
            transfer.cancel()
        return bool(stalled)

    def _transfer_for(self, origin: Origin, number: int) -> None:
        """See to it that a transfer is on its way to block `number`, unless it was just delivered."""
        with self._changed:
            if self._at_hand(number) is not None:
                return
            near = [t for t in self._transfers if 0 <= number - t.next_block <= SKIP_BLOCKS]
            if near:
                min(near, key=lambda t: number - t.next_block).want(number)
                return
            surplus = None
            if len(self._transfers) >= MAX_TRANSFERS_PER_CONTENT:
                surplus = min(self._transfers, key=lambda t: t.used_at)
                self._remove(surplus)
            transfer = self._contents.new_transfer(self, origin, number)
            if transfer is not None:
                self._transfers.append(transfer)
        if surplus is not None:
            surplus.cancel()
        if transfer is not None:
            transfer.start()


def _is_transient(error: PachmountError) -> bool:
    return isinstance(error, ClusterUnreachableError | DataError)
