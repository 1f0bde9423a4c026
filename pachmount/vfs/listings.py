"""Listings of finished commits outlive their mounts: shared by the mounts of a daemon, kept on disk for the next."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pachmount.cache.listings import ListingFiles, ListingKey
from pachmount.errors import IncompleteListingError, PachmountError
from pachmount.pfs.model import CommitRef, FileEntry
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.listing import GrowingListing, Listing


class Listings:
    """All listings of one daemon. Thread-safe; no lock is held over the disk."""

    def __init__(self, files: ListingFiles) -> None:
        self.files = files
        self._lock = threading.Lock()
        self._shared: weakref.WeakValueDictionary[ListingKey, Listing] = weakref.WeakValueDictionary()

    def load(self, key: ListingKey) -> Listing | None:
        with self._lock:
            shared = self._shared.get(key)
        if shared is not None:
            return shared
        sections = self.files.load(key)
        listing = Listing.restored(sections) if sections is not None else None
        return self._share(key, listing) if listing is not None else None

    def save(self, key: ListingKey, listing: Listing) -> None:
        self._share(key, listing)
        self.files.save(key, listing.sections())

    def _share(self, key: ListingKey, listing: Listing) -> Listing:
        with self._lock:
            return self._shared.setdefault(key, listing)


class Former(NamedTuple):
    """The listing of another commit, and how to ask in which files and directories it differs, as (new, old)."""

    listing: Listing
    differences: Callable[[], Iterator[tuple[FileEntry | None, FileEntry | None]]]


class SavedListing:
    """The place of one commit's listing among them. `cluster_id` asks which cluster it is that has the commit."""

    def __init__(
        self,
        listings: Listings,
        cluster_id: Callable[[], str],
        commit: CommitRef,
        path_filter: PathFilter,
        former: Former | None = None,
    ) -> None:
        """`former` is of a commit that differs little: to ask for that takes less time than to list everything."""
        self._listings = listings
        self._cluster_id = cluster_id
        self._filter = path_filter
        self._former = former
        self._rest = (commit.repo.project, commit.repo.name, commit.id, *path_filter.paths)

    def load(self) -> Listing | None:
        """The listing, if it is known which cluster it must be of, and it was saved."""
        key = self._key()
        return None if key is None else self._listings.load(key)

    def derive(self) -> Listing | None:
        """The listing, made of a former one; None if there is none. Raises PachmountError."""
        if self._former is None:
            return None
        listing, differences = self._former
        self._former = None  # its listing need not stay in memory
        changes: dict[bytes, FileEntry | None] = {}
        root: FileEntry | None = None
        for new, old in differences():
            if new is not None and not new.path:
                root = new
            if old is not None and not old.is_dir and self._filter.visible(old.path):
                changes.setdefault(old.path.encode(), None)
            if new is not None and not new.is_dir and self._filter.visible(new.path):
                changes[new.path.encode()] = new
        derived = GrowingListing.changed(listing, changes)
        if root is not None and self._filter.everything and derived.root_hash() != root.hash:
            raise IncompleteListingError("differences between two commits are incomplete", "the hash of all is another")
        return derived

    def save(self, listing: Listing) -> None:
        key = self._key()
        if key is not None:
            self._listings.save(key, listing)

    def _key(self) -> ListingKey | None:
        try:
            cluster = self._cluster_id()
        except PachmountError:
            return None  # it will be asked for the listing itself, and then say why it does not answer
        return (cluster, *self._rest) if cluster else None
