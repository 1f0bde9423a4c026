"""Pages of the directories of a commit, and single entries, for those who browse it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice
from typing import Literal, NamedTuple

from pachmount.vfs.listed import ListedDirectory, key
from pachmount.vfs.listing import Listing
from pachmount.vfs.tree import Node
from pachmount.vfs.view import CommitView

Kind = Literal["file", "dir", "link", "other"]
NO_DIGEST = b""
TOTAL_SECONDS = 0.25
"""How long a page waits for the rest of its directory, so that the total is known of all but very large ones."""


class Entry(NamedTuple):
    """A name in a directory. `size` in bytes, of a directory everything below it; `digest` as the server has it, b"" of
    a directory and where it is not known; `modified` in seconds since the epoch.
    """

    name: bytes
    kind: Kind
    size: int
    digest: bytes
    modified: float

    @property
    def key(self) -> bytes:
        """What it is sorted by; the marker of the page that follows it."""
        return key(self.name, is_dir=self.kind == "dir")


class Page(NamedTuple):
    """Some entries of a directory. `total` counts those of all pages, None while that is not known."""

    entries: list[Entry]
    total: int | None
    is_last: bool


class Asked(NamedTuple):
    """Which page: at most `number` entries, those behind the key `marker`, whose names contain `wanted` (which is
    folded).
    """

    marker: bytes
    number: int
    wanted: bytes


def page_of(view: CommitView, path: bytes, asked: Asked) -> Page:
    """A page of a directory of a commit. NotFoundError if there is none, PachmountError if the cluster does not tell.

    A directory whose listing is under way is waited for up to TOTAL_SECONDS if the page is there already.
    """
    started = time.monotonic()

    def following(listing: Listing) -> list[int]:
        """The page as far as it has come, and one more."""
        index = listing.find(path)
        if index is None or not listing.is_dir(index):
            return []
        marker = path.rstrip(b"/") + b"/" + asked.marker.rstrip(b"/")
        before = listing.find(marker) if asked.marker else index
        if before is None or (asked.marker and listing.is_dir(before) and not listing.has_all(before)):
            return []
        first = before + 1 if not asked.marker else listing.following(before)
        return [child for _, child in islice(listing.children(index, first), asked.number + 1)]

    def is_enough(growing: Listing) -> bool:
        is_due = not asked.wanted and time.monotonic() - started > TOTAL_SECONDS
        return is_due and len(following(growing)) > asked.number

    listing, index = view.directory(path, is_enough)
    if not listing.has_all(index):
        return Page(_entries(view, listing, following(listing)[: asked.number]), None, is_last=False)
    listed = listed_directory(view, path, listing, index, asked.wanted)
    found = [child for _, child in islice(listed.after(asked.marker), asked.number + 1)]
    entries = _entries(view, listing, found[: asked.number])
    return Page(entries, len(listed), is_last=len(found) <= asked.number)


def listed_directory(view: CommitView, path: bytes, listing: Listing, index: int, wanted: bytes) -> ListedDirectory:
    """The entries of a directory that was found in a listing of the view, kept for the next page."""
    return view.listed.get(
        (path, wanted),
        lambda: ListedDirectory(listing, index, wanted),
        lambda kept: kept.listing is listing,
    )


def entry_of(view: CommitView, node: Node) -> Entry:
    """One file or directory of a commit. The size of the root is 0 while the commit is being listed."""
    path = node.path.encode()
    name = path.rpartition(b"/")[2]
    if not node.is_dir:
        return Entry(name, "file", node.size, node.digest, view.time)
    listing = view.tree.listing
    if listing is None and name:
        listing, _ = view.directory(path[: -len(name) - 1] or b"/", lambda _growing: False)
    index = listing.find(path) if listing is not None else None
    size = listing.bytes_below(index) if listing is not None and index is not None else 0
    return Entry(name, "dir", size, NO_DIGEST, view.time)


def _entries(view: CommitView, listing: Listing, found: Iterable[int]) -> list[Entry]:
    return [listed_entry(view, listing, child, listing.bytes_below(child)) for child in found]


def listed_entry(view: CommitView, listing: Listing, child: int, size: int) -> Entry:
    """An entry of a listing."""
    is_dir = listing.is_dir(child)
    digest = NO_DIGEST if is_dir else listing.digest(child)
    name = listing.path(child).rpartition(b"/")[2]
    return Entry(name, "dir" if is_dir else "file", size, digest, view.time)
