"""The names of one commit: a listing filled in the background, and single directories at once while that lasts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Literal, NamedTuple

from pachmount.errors import ClusterTimeoutError, ClusterUnreachableError, NotFoundError, PachmountError
from pachmount.pfs.model import CommitReader, CommitRef, FileEntry
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.listing import Listing

log = logging.getLogger(__name__)

PATIENCE = 0.3
"""Seconds to wait for the whole listing before asking for one directory alone."""
RETRY_PAUSE = 1.0
"""Seconds after a failed listing before an access starts it again."""
MAX_DIRECTORIES_HELD = 1000
"""Directories listed one by one while the whole listing is on its way."""

ListingState = Literal["loading", "complete", "failed"]


class Node(NamedTuple):
    """A file or directory: `size` in bytes, `digest` the server's content hash (32 bytes)."""

    path: str
    is_dir: bool
    size: int
    digest: bytes


ROOT = Node("/", True, 0, b"")


class Tree:
    """Looks up paths (bytes, b"/" = root) in a commit. Answers from memory once the listing is complete.

    Until then a look-up waits at most for its own directory. Every wait ends after `timeout` seconds.
    """

    def __init__(self, reader: CommitReader, commit: CommitRef, path_filter: PathFilter, timeout: float) -> None:
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
        self._directories: dict[str, dict[bytes, Node]] = {}
        self._directory_flights: dict[str, threading.Lock] = {}

    def start(self) -> None:
        """Begin to fetch the whole listing in a thread of its own; does nothing while that is under way or done."""
        with self._changed:
            if self._loading or self._listing is not None or self._closed:
                return
            self._loading = True
        threading.Thread(target=self._load, name="listing", daemon=True).start()

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
        listing = self._listing or self._patient_listing()
        if listing is not None:
            index = listing.find(path)
            return None if index is None else _node(listing, index)
        if path == b"/":
            return ROOT
        parent, _, name = path.rpartition(b"/")
        try:
            return self._directory(parent.decode()).get(name)
        except UnicodeDecodeError:
            return None  # stored names are ASCII

    def children(self, path: bytes) -> Iterator[tuple[bytes, bool]]:
        """Name and is-directory of each entry of a directory; NotFoundError if there is no such directory."""
        listing = self._listing or self._patient_listing()
        if listing is not None:
            index = listing.find(path)
            if index is None or not listing.is_dir(index):
                raise NotFoundError(f"no directory '{path.decode()}'")
            return ((name, listing.is_dir(child)) for name, child in listing.children(index))
        directory = "" if path == b"/" else path.decode()
        return ((name, node.is_dir) for name, node in self._directory(directory).items())

    def _patient_listing(self) -> Listing | None:
        self.start_if_due()
        self.wait_complete(PATIENCE)
        return self._listing

    def start_if_due(self) -> None:
        """Start again after a failure, but not at every access."""
        if self._error is None or time.monotonic() - self._failed_at > RETRY_PAUSE:
            self.start()

    def _load(self) -> None:
        started = time.monotonic()
        error: PachmountError | None = None
        listing: Listing | None = None
        try:
            listing = Listing(self._entries())
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
            if listing is not None:
                self._listing = listing
                self._directories = {}
                log.info("listed %s: %d entries in %.2f s", self._commit, len(listing), self._failed_at - started)
            self._changed.notify_all()

    def _entries(self) -> Iterator[FileEntry]:
        for root in self._filter.paths or ("",):
            for entry in self._reader.walk(self._commit, root):
                if self._closed:
                    raise ClusterUnreachableError(f"listing of {self._commit} stopped", "the mount is going away")
                yield entry

    def _directory(self, directory: str) -> dict[bytes, Node]:
        """One directory ("" = root), asked for on its own; one request at a time for each."""
        found = self._directories.get(directory)
        if found is not None:
            return found
        with self._changed:
            flight = self._directory_flights.setdefault(directory, threading.Lock())
        if not flight.acquire(timeout=self._timeout):
            raise ClusterTimeoutError(f"listing of '{directory or '/'}' took too long", "the cluster does not answer")
        try:
            found = self._directories.get(directory)
            if found is None:
                found = self._list(directory)
                with self._changed:
                    if self._listing is None and len(self._directories) < MAX_DIRECTORIES_HELD:
                        self._directories[directory] = found
            return found
        finally:
            flight.release()
            with self._changed:
                self._directory_flights.pop(directory, None)

    def _list(self, directory: str) -> dict[bytes, Node]:
        if not self._filter.visible(directory):
            return {}
        found: dict[bytes, Node] = {}
        deadline = time.monotonic() + self._timeout
        for entry in self._filter.select(self._reader.list(self._commit, directory)):
            if time.monotonic() > deadline:
                raise ClusterTimeoutError(f"listing of '{directory or '/'}' took too long", "a big directory")
            found[entry.path[len(directory) + 1 :].encode()] = Node(*entry)
        return found


def _node(listing: Listing, index: int) -> Node:
    return Node(listing.path(index).decode(), listing.is_dir(index), listing.size(index), listing.digest(index))
