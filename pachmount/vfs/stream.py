"""One transfer: a GetFile call that cuts a file's bytes into blocks, a bounded way ahead of its readers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from pachmount.cache.blocks import BLOCK_BYTES
from pachmount.cache.pages import Block, on_pages
from pachmount.errors import DataError, PachmountError
from pachmount.pfs.model import ByteStream, CommitReader, CommitRef
from pachmount.vfs.statistics import MountStatistics

FIRST_WINDOW = 2
"""Blocks read ahead of a reader that starts at the beginning; later as many as it has read in sequence."""
IDLE_SECONDS = 10.0
"""A transfer that nobody has wanted more of for so long is ended."""

_STEP_BYTES = 128 << 10
"""How often a transfer notes that it gets on."""

log = logging.getLogger(__name__)


class Neighbours(Protocol):
    """Fetches small files together; see neighbours.py."""

    def used(self, path: bytes) -> None: ...

    def fetch(self, path: bytes, digest: bytes, deadline: float) -> bytes | None: ...


@dataclass(frozen=True)
class Origin:
    """Where the bytes of a content can be had: a file of a commit, its size in bytes.

    `has_hash` tells whether the content is known by the server's hash of it, so that a download can be checked;
    `statistics` are those of the mount that reads it, `neighbours` the small files around, if it is one of them.
    """

    reader: CommitReader
    commit: CommitRef
    path: str
    size: int
    has_hash: bool = True
    statistics: MountStatistics = field(default_factory=MountStatistics)
    neighbours: Neighbours | None = None

    @property
    def blocks(self) -> int:
        return -(-self.size // BLOCK_BYTES)

    def block_size(self, number: int) -> int:
        return min(BLOCK_BYTES, self.size - number * BLOCK_BYTES)


class Transfer:
    """Fetches blocks from `first` on in a thread of its own and hands each to `deliver`.

    It runs until it is `window` blocks ahead of what was wanted last, then pauses (the server is held back by flow
    control) until more is wanted, nobody wanted more for IDLE_SECONDS, or it is cancelled. `deliver` tells whether the
    block after it is still needed, and counts `next_block` on at the moment at which the block can be had: a reader
    that comes before must find that this transfer is at it. `ended` is called once, with the error or None.
    """

    def __init__(
        self,
        origin: Origin,
        first: int,
        max_window: int,
        deliver: Callable[[Transfer, int, Block], bool],
        ended: Callable[[Transfer, PachmountError | None], None],
    ) -> None:
        self.origin = origin
        self.first_block = first
        self.next_block = first
        self.used_at = self.progress_at = time.monotonic()
        self.received_bytes = 0
        self._resumed_at = self.used_at
        self._wanted = first
        self._window = FIRST_WINDOW if first == 0 else 0
        self._max_window = max_window
        self._deliver = deliver
        self._ended = ended
        self._wake = threading.Condition()
        self._cancelled = False
        self._stream: ByteStream | None = None

    def start(self) -> None:
        """Fetch in a thread of its own, so that no reader depends on a call that may stall."""
        threading.Thread(target=self._run, name="transfer", daemon=True).start()

    @property
    def paused(self) -> bool:
        return self.next_block > self._wanted + self._window

    def stalled_for(self) -> float:
        """Seconds since the last bytes came, or since more was wanted: 0 while it need not get on."""
        if self.paused:
            return 0.0
        return time.monotonic() - max(self.progress_at, self._resumed_at)

    def want(self, number: int) -> None:
        """A reader needs block `number` now; going on in sequence widens the window to what was read so far."""
        with self._wake:
            self.used_at = time.monotonic()
            if self.paused:
                self._resumed_at = self.used_at
            if number > self._wanted:
                self._window = min(self._max_window, max(FIRST_WINDOW, number + 1 - self.first_block))
                self._wanted = number
            self._wake.notify_all()

    def cancel(self) -> None:
        with self._wake:
            self._cancelled = True
            self._wake.notify_all()
            stream = self._stream
        if stream is not None:
            stream.cancel()

    def _run(self) -> None:
        error: PachmountError | None = None
        try:
            self._fetch()
        except PachmountError as failure:
            error = None if self._cancelled else failure
        except Exception as failure:
            log.exception("a transfer of %s failed", self.origin.path)
            error = PachmountError(f"cannot read '{self.origin.path}'", str(failure))
        self._ended(self, error)

    def _fetch(self) -> None:
        origin = self.origin
        offset = self.next_block * BLOCK_BYTES
        stream = origin.reader.open(origin.commit, origin.path, offset)
        with self._wake:
            self._stream = stream
        try:
            while self.next_block < origin.blocks:
                block = self._receive(stream)
                if block is None:
                    return
                if not self._deliver(self, self.next_block, block):
                    return
                if self.next_block < origin.blocks and not self._wait_until_wanted():
                    return
        finally:
            stream.cancel()

    def _receive(self, stream: ByteStream) -> Block | None:
        """The next block; None when the transfer was cancelled."""
        origin = self.origin
        wanted = origin.block_size(self.next_block)
        block, received = on_pages(wanted), 0
        while received < wanted:
            size = stream.readinto(block[received : received + _STEP_BYTES])
            if not size:
                break
            received += size
            self.progress_at = time.monotonic()
        self.received_bytes += received
        is_last = self.next_block == origin.blocks - 1
        too_many = stream.readinto(memoryview(bytearray(1))) if is_last and received == wanted else 0
        if self._cancelled:
            return None
        if too_many:
            raise DataError(f"'{origin.path}' has more bytes than listed", f"more than {origin.size}")
        if received < wanted:
            offset = self.next_block * BLOCK_BYTES + received
            raise DataError(f"'{origin.path}' ended early", f"{offset} of {origin.size} bytes came")
        return block

    def _wait_until_wanted(self) -> bool:
        """Pause while far enough ahead; False when the transfer should end."""
        with self._wake:
            while self.paused and not self._cancelled:
                idle = time.monotonic() - self.used_at
                if idle >= IDLE_SECONDS:
                    return False
                self._wake.wait(IDLE_SECONDS - idle)
            return not self._cancelled
