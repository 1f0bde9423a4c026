"""Small files that are read one after another: notices where, and fetches those around and ahead in batches.

The listing's order is the order in which an archive brings files. One byte an entry tells whether it was asked for:
the first file of a neighbourhood is fetched alone, with the second a batch sets out, and each next one is as large as
what was read so far in one stretch. In which order the files of a stretch are read, and by how many threads, makes no
difference.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from pachmount.pfs.model import CommitReader, CommitRef
from pachmount.vfs.bundle import Batch, Bundles, Plan
from pachmount.vfs.hashes import VERIFIABLE_BYTES
from pachmount.vfs.listing import Listing
from pachmount.vfs.ranges import Item, plan
from pachmount.vfs.tree import Tree

FIRST_FILES = 64
"""Files in a first batch, and how far apart two reads may be to count as neighbours."""
FIRST_BYTES = 1 << 20
MAX_FILES = 4096
SAMPLED = 16
"""What is ahead is looked at for one file in so many, so that a read from the cache costs next to nothing."""
FIRST_PAUSE, MAX_PAUSE = 1.0, 300.0
"""Seconds without batches after a failed one; doubled each time."""
_UNASKED, _ASKED, _ALONE = 0, 1, 2

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Flight:
    """A batch for the entries [start, stop) of the listing."""

    start: int
    stop: int
    batch: Batch


class Neighbours:
    """The small files of one commit. Locks: `_lock` for moments; taken before those of Bundles."""

    def __init__(
        self, reader: CommitReader, commit: CommitRef, tree: Tree, bundles: Bundles, roots: tuple[bytes, ...]
    ) -> None:
        """`roots`: the paths which the listing is limited to; none if it is of the whole commit."""
        self._reader = reader
        self._commit = commit
        self._tree = tree
        self._bundles = bundles
        self._roots = roots
        self._lock = threading.Lock()
        self._asked = bytearray()
        self._flights: list[_Flight] = []
        self._failures = 0
        self._off_until = 0.0

    def used(self, path: bytes) -> None:
        """A small file was read from the cache: see to it that those ahead are there in time."""
        listing = self._tree.listing
        if not self._asked or listing is None:
            return
        index = listing.find(path)
        if index is None:
            return
        self._asked[index] = self._asked[index] or _ASKED
        if not index % SAMPLED and time.monotonic() >= self._off_until:
            stretch = self._stretch(index)
            near = index + max(stretch, FIRST_FILES) // 2
            if self._asked.find(_UNASKED, index, near) >= 0:
                with self._lock:
                    ahead = self._asked.find(_UNASKED, index, near)
                    if ahead >= 0:
                        self._start(listing, ahead, ahead, stretch)

    def fetch(self, path: bytes, digest: bytes, deadline: float) -> bytes | None:
        """A small file that is not in the cache, if a batch brings it; None if it has to be fetched alone."""
        listing = self._tree.listing
        batch = self._bundles.on_its_way(digest)
        if batch is None and listing is not None:
            index = listing.find(path)
            batch = None if index is None else self._batch_for(listing, index, digest)
        if batch is None:
            return None
        data = batch.wait(digest, deadline)
        if data is None and batch.stalled:
            batch.cancel()
        return data

    def close(self) -> None:
        """End the batches under way, start no more."""
        with self._lock:
            self._off_until = float("inf")
            flights = list(self._flights)
        for flight in flights:
            flight.batch.cancel()

    def _batch_for(self, listing: Listing, index: int, digest: bytes) -> Batch | None:
        with self._lock:
            for flight in self._flights:
                if flight.start <= index < flight.stop:
                    return flight.batch
            if not self._asked:
                self._asked = bytearray(len(listing) + 1)
            asked, state = self._asked, self._asked[index]
            asked[index] = _ASKED
            if state == _ALONE or time.monotonic() < self._off_until or not self._bundles.is_needed(digest):
                return None
            stretch = self._stretch(index)
            if state == _ASKED:  # it came and went again, and so did what follows, most likely
                stop = min(len(asked), index + max(stretch, FIRST_FILES))
                asked[index + 1 : stop] = bytes(stop - index - 1)
            start = max(0, index - FIRST_FILES)
            before = asked.rfind(_ASKED, start, index)
            if before < 0 and asked.find(_ASKED, index + 1, index + FIRST_FILES) < 0:
                return None
            return self._start(listing, max(start, before) + 1, index, stretch)

    def _stretch(self, index: int) -> int:
        """How many entries before this one (a power of two) were asked for, by and large."""
        size = MAX_FILES
        while size >= FIRST_FILES:
            first = max(0, index - size)
            if index - first - self._asked.count(_UNASKED, first, index) >= size // 2:
                return size
            size //= 2
        return 0

    def _start(self, listing: Listing, start: int, index: int, stretch: int) -> Batch | None:
        """Begin a batch with entry `index`, some of those before it down to `start`, and those behind it."""
        read = sum(_small_size(listing, before) for before in range(max(1, index - stretch), index))
        limit = min(max(FIRST_BYTES, read), self._bundles.batch_bytes)
        size = _small_size(listing, index)
        first = index
        while first > start and size + _small_size(listing, first - 1) <= limit // 2:
            first -= 1
            size += _small_size(listing, first)
        stop = index + 1
        others = (flight.start for flight in self._flights if flight.start > index)
        end = min(len(listing) + 1, index + max(stretch, FIRST_FILES), *others)
        while stop < end and size + _small_size(listing, stop) <= limit:
            size += _small_size(listing, stop)
            stop += 1
        batch = Batch(
            self._reader, self._commit, size, lambda: self._plan(listing, first, stop), self._bundles, self._batch_ended
        )
        self._flights.append(_Flight(first, stop, batch))
        if not self._bundles.add(batch):
            self._flights.pop()
            return None
        self._asked[first:stop] = bytes([_ASKED]) * (stop - first)
        return batch

    def _plan(self, listing: Listing, start: int, stop: int) -> Plan:
        files: dict[bytes, tuple[int, bytes]] = {}
        places: dict[bytes, int] = {}
        following = listing.path(stop) if stop <= len(listing) else None
        ranges = tuple(plan(self._items(listing, start, stop, files, places), following, self._roots))
        for path in (path for within in ranges for path in within.wanted):
            del places[path]
        for path, index in places.items():  # too few together
            del files[path]
            self._asked[index] = _ALONE
        return Plan(ranges, files)

    def _items(
        self,
        listing: Listing,
        start: int,
        stop: int,
        files: dict[bytes, tuple[int, bytes]],
        places: dict[bytes, int],
    ) -> Iterator[Item]:
        """The entries, with those wanted noted in `files` and `places`."""
        seen: set[bytes] = set()
        for index in range(start, stop):
            path, size, digest = listing.path(index), listing.size(index), listing.digest(index)
            is_dir = listing.is_dir(index)
            fits = not is_dir and 0 < size < VERIFIABLE_BYTES and any(digest)
            wanted = fits and digest not in seen and self._bundles.is_needed(digest)
            if wanted:
                seen.add(digest)
                files[path] = (size, digest)
                places[path] = index
            yield Item(path, 0 if is_dir else size, wanted)

    def _batch_ended(self, batch: Batch) -> None:
        with self._lock:
            self._flights = [flight for flight in self._flights if flight.batch is not batch]
            if batch.error is None and not batch.stalled:
                self._failures = 0
                return
            pause = min(MAX_PAUSE, FIRST_PAUSE * 2 ** min(self._failures, 10))
            self._failures += 1
            self._off_until = max(self._off_until, time.monotonic() + pause)
        reason = batch.error or "a batch stalled"
        log.info("small files of %s are fetched one by one for %.0f s: %s", self._commit, pause, reason)


def _small_size(listing: Listing, index: int) -> int:
    """What an entry adds to a batch; those that are too large are not in it."""
    size = listing.size(index)
    return size if size < VERIFIABLE_BYTES and not listing.is_dir(index) else 0
