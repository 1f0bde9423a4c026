"""The names of one commit: a listing that answers while it is filled, and directories that it has not reached."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from pachmount.errors import (
    ClusterTimeoutError,
    ClusterUnreachableError,
    IncompleteListingError,
    NotFoundError,
    PachmountError,
)
from pachmount.pfs.model import CommitReader, CommitRef, FileEntry
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.listing import GrowingListing, Listing
from pachmount.vfs.listings import SavedListing

log = logging.getLogger(__name__)

FIRST_PATIENCE = 0.3
"""Seconds to wait for the first entry of the listing before asking for one directory alone."""
PATIENCE = (0.05, 1.0)
"""Least and most seconds to wait until the listing reaches a directory."""
PATIENCE_DIRECTORIES = 4
"""What the listing needs for so many directories, on average, is worth the wait in between."""
STALL = 2.0
"""Seconds without an entry after which the listing is not waited for."""
LOOK = 0.05
"""Seconds after which a waiting look-up looks again, whether it was woken or not."""
RETRY_PAUSE = 1.0
"""Seconds after a failed listing before an access starts it again."""
_RESTORED = "restored the listing of"
MAX_DIRECTORIES_HELD = 1000
MAX_ENTRIES_HELD = 200_000
"""Directories listed one by one that are kept while the whole listing is on its way, and their entries."""

ListingState = Literal["loading", "complete", "failed"]


class Node(NamedTuple):
    """A file or directory: `size` in bytes (0 of a directory), `digest` the server's content hash (32 bytes)."""

    path: str
    is_dir: bool
    size: int
    digest: bytes


ROOT = Node("/", True, 0, b"")


class Tree:
    """Looks up paths (bytes, b"/" = root) in a commit. Answers from memory once the listing is complete.

    Until then a look-up waits at most for its own directory. Every wait ends after `timeout` seconds.
    """

    def __init__(
        self,
        reader: CommitReader,
        commit: CommitRef,
        path_filter: PathFilter,
        timeout: float,
        saved: SavedListing | None = None,
    ) -> None:
        """`saved` is where the listing is looked for first and kept for others; None where it may still change."""
        self._saved = saved
        self._restoring = False
        self._reader = reader
        self._commit = commit
        self._filter = path_filter
        self._timeout = timeout
        self._changed = threading.Condition()
        self._listing: Listing | None = None
        self._error: PachmountError | None = None
        self._failed_at = 0.0
        self._loading = False
        self._closed = False
        self._growing: GrowingListing | None = None  # while it is on its way
        self._started = 0.0
        self._waiting = 0
        self._in_vain = 0
        self._directories: dict[bytes, Listing] = {}
        self._directory_flights: dict[bytes, threading.Lock] = {}

    def start(self) -> None:
        """Begin to fetch the whole listing in a thread of its own; does nothing while that is under way or done."""
        with self._changed:
            if self._loading or self._listing is not None or self._closed:
                return
            self._loading = True
            self._restoring = self._saved is not None
            self._started = time.monotonic()
            growing = self._growing = GrowingListing()
        threading.Thread(target=self._load, args=(growing,), name="listing", daemon=True).start()

    def close(self) -> None:
        """Stop fetching at the next entry; waiting look-ups fail."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def state(self) -> ListingState:
        if self._listing is not None:
            return "complete"
        return "failed" if self._error is not None and not self._loading else "loading"

    @property
    def listing(self) -> Listing | None:
        """The whole listing, or None while it is not complete."""
        return self._listing

    @property
    def error(self) -> PachmountError | None:
        """Why the listing failed last, None when it did not."""
        return None if self._listing is not None else self._error

    def wait_complete(self, timeout: float) -> bool:
        """Wait until the listing is complete or has failed; whether it is complete."""
        with self._changed:
            self._changed.wait_for(lambda: self._listing is not None or not self._loading, timeout)
        return self._listing is not None

    def find(self, path: bytes) -> Node | None:
        """The node at `path`, None if there is none. Raises PachmountError when the cluster does not tell in time."""
        listing = self._listing
        if listing is None:
            if path == b"/":
                self.start_if_due()
                return ROOT
            parent = path[: path.rindex(b"/")] or b"/"
            listing = self._source(parent, lambda growing: growing.knows(path))
        index = listing.find(path)
        return None if index is None else _node(listing, index)

    def children(self, path: bytes) -> Iterator[tuple[bytes, bool]]:
        """Name and is-directory of each entry of a directory; NotFoundError if there is no such directory."""
        listing, index = self.directory(path)
        return ((name, listing.is_dir(child)) for name, child in listing.children(index))

    def directory(
        self, path: bytes, is_enough: Callable[[Listing], bool] = lambda _growing: False
    ) -> tuple[Listing, int]:
        """A listing with all entries of a directory, and its index there; NotFoundError if there is no such directory.

        `is_enough` may be content with a listing that is on its way, before all of the entries have come.
        """
        listing = self._listing
        if listing is None:
            listing = self._source(path, lambda growing: growing.knows_children(path) or is_enough(growing))
        index = listing.find(path)
        if index is None or not listing.is_dir(index):
            raise NotFoundError(f"no directory '{path.decode(errors='replace')}'")
        return listing, index

    def _source(self, directory: bytes, ready: Callable[[GrowingListing], bool]) -> Listing:
        """A listing that can answer about what is directly in `directory`, as far as `ready` asks for it."""
        self.start_if_due()
        growing = self._growing
        if growing is not None and ready(growing):
            return growing
        held = self._directories.get(directory)
        if held is not None:
            return held
        deadline = time.monotonic() + self._timeout
        return self._chased(directory, ready) or self._directory(directory, deadline)

    def _chased(self, directory: bytes, ready: Callable[[GrowingListing], bool]) -> Listing | None:
        """The listing when it has come so far, None when that is not worth waiting for.

        It is while the listing is in that very directory, or as long as it needs for a few directories. A look-up that
        waited in vain halves the patience of the next ones, until one succeeds: they are not on the way of the listing.
        """
        started = moved = time.monotonic()
        count = -1
        with self._changed:
            self._waiting += 1
            try:
                while self._listing is None:
                    growing = self._growing
                    if growing is None:
                        return None
                    if ready(growing):
                        self._in_vain = 0
                        return growing
                    now = time.monotonic()
                    if len(growing) != count:
                        moved, count = now, len(growing)
                    coming = count > 0 and growing.is_in(directory) and now - moved < STALL
                    left = self._timeout if coming or self._restoring else self._patience(growing)
                    left -= now - started
                    if left <= 0:
                        self._in_vain += 1
                        return None
                    self._changed.wait(min(left, LOOK))
                return self._listing
            finally:
                self._waiting -= 1

    def _patience(self, growing: GrowingListing) -> float:
        if not len(growing):
            return FIRST_PATIENCE
        pace = (time.monotonic() - self._started) / growing.directories
        least, most = PATIENCE
        patience = max(least, min(most, PATIENCE_DIRECTORIES * pace))
        return patience / (1 << min(self._in_vain, 6))

    def start_if_due(self) -> None:
        """Start again after a failure, but not at every access."""
        if self._error is None or time.monotonic() - self._failed_at > RETRY_PAUSE:
            self.start()

    def _load(self, growing: GrowingListing) -> None:
        error: PachmountError | None = None
        listing: Listing = growing
        found, how = self._restore()
        try:
            listing = self._filled(growing) if found is None else found
        except PachmountError as failure:
            error = failure
            log.warning("listing of %s failed: %s", self._commit, failure)
        except Exception as failure:  # whatever happens, waiting look-ups must learn of it
            error = PachmountError(f"listing of {self._commit} failed", str(failure))
            log.exception("listing of %s failed", self._commit)
        with self._changed:
            self._loading = False
            self._error = error
            self._failed_at = time.monotonic()
            self._growing = None
            if error is None:
                self._listing = listing
                self._directories = {}
            self._changed.notify_all()
        if error is None:
            seconds = time.monotonic() - self._started
            log.info("%s %s: %d entries in %.2f s", how, self._commit, len(listing), seconds)
            if self._saved is not None and how != _RESTORED:
                self._saved.save(listing)

    def _restore(self) -> tuple[Listing | None, str]:
        """The listing that was saved earlier, or is made of a former one; look-ups wait for it, or learn of none.

        Also how it came, in words.
        """
        try:
            found = self._saved.load() if self._saved is not None else None
            if found is not None:
                return found, _RESTORED
            return self._saved.derive() if self._saved is not None else None, "listed"
        except PachmountError as error:
            log.info("%s has to be listed as a whole: %s", self._commit, error)
            return None, "listed"
        except Exception:
            log.exception("a saved listing of %s cannot be used", self._commit)
            return None, "listed"
        finally:
            with self._changed:
                self._restoring = False
                self._changed.notify_all()

    def _filled(self, growing: GrowingListing) -> Listing:
        """The listing as the cluster gives it; one that is incomplete is asked for once more."""
        try:
            self._fill(growing)
        except IncompleteListingError as error:
            log.warning("%s; asking once more", error)
            growing = self._growing = GrowingListing()
            self._fill(growing)
        return growing

    def _fill(self, growing: GrowingListing) -> None:
        for root in self._filter.paths or ("",):
            for entries in self._reader.walk_batches(self._commit, root):
                for path, is_dir, size, digest in entries:
                    growing.add(path.encode(), is_dir, size, digest)
                if self._waiting:
                    with self._changed:
                        self._changed.notify_all()
                if self._closed:
                    raise ClusterUnreachableError(f"listing of {self._commit} stopped", "the mount is going away")
        growing.finish()

    def _directory(self, directory: bytes, deadline: float) -> Listing:
        """One directory, asked for on its own; one request at a time for each."""
        with self._changed:
            flight = self._directory_flights.setdefault(directory, threading.Lock())
        if not flight.acquire(timeout=max(deadline - time.monotonic(), 0)):
            raise _too_long(directory, "the cluster does not answer")
        try:
            found = self._listing or self._directories.get(directory)
            if found is None:
                try:
                    found = self._list(directory, deadline)
                except IncompleteListingError as error:
                    log.warning("%s; asking once more", error)
                    found = self._list(directory, deadline)
                with self._changed:
                    self._hold(directory, found)
            return found
        finally:
            flight.release()
            with self._changed:
                self._directory_flights.pop(directory, None)

    def _hold(self, directory: bytes, listing: Listing) -> None:
        """Keep a single directory while the whole listing is on its way. Called with the lock held."""
        if self._listing is not None:
            return
        held = self._directories = {**self._directories, directory: listing}
        entries = sum(map(len, held.values()))
        while len(held) > 1 and (len(held) > MAX_DIRECTORIES_HELD or entries > MAX_ENTRIES_HELD):
            entries -= len(held.pop(next(iter(held))))

    def _list(self, directory: bytes, deadline: float) -> Listing:
        listing = GrowingListing()
        path = "" if directory == b"/" else directory.decode(errors="replace")
        listing.enter(f"{path}/".encode())
        entries: Iterator[FileEntry] = iter(())
        if self._filter.visible(path):
            entries = self._filter.select(self._reader.list(self._commit, path))
        for child, is_dir, size, digest in entries:
            if is_dir:
                listing.add_closed(child.encode(), size)
            else:
                listing.add(child.encode(), is_dir, size, digest)
            if time.monotonic() > deadline:
                raise _too_long(directory, "a big directory")
        listing.finish()
        return listing


def _too_long(directory: bytes, why: str) -> ClusterTimeoutError:
    return ClusterTimeoutError(f"listing of '{directory.decode()}' took too long", why)


def _node(listing: Listing, index: int) -> Node:
    is_dir = listing.is_dir(index)
    return Node(listing.path(index).decode(), is_dir, 0 if is_dir else listing.size(index), listing.digest(index))
