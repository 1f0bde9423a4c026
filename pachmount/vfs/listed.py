"""The entries of one directory of a listing, numbered: a page of them is found without a look at the others."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator

from pachmount.vfs.listing import Listing


class ListedDirectory:
    """Those entries of a directory whose names contain some text, in the server's order: 4 bytes each.

    That is the order of `key`: the name, of a directory with a trailing slash.
    """

    def __init__(self, listing: Listing, index: int, wanted: bytes = b"") -> None:
        """`wanted`: what `matches` asks of a name. All entries of the directory have come."""
        self.listing = listing
        self._skip = len(listing.path(index).rstrip(b"/")) + 1
        self._children = array(
            "I", (child for name, child in listing.children(index) if not wanted or matches(name, wanted))
        )

    def __len__(self) -> int:
        return len(self._children)

    def after(self, marker: bytes) -> Iterator[tuple[bytes, int]]:
        """Key and index of each entry behind a key, b"" = all; the entry of that key need not exist any more."""
        for position in range(bisect_right(self._children, marker, key=self._key), len(self._children)):
            child = self._children[position]
            yield self._key(child), child

    def _key(self, child: int) -> bytes:
        return key(self.listing.path(child)[self._skip :], is_dir=self.listing.is_dir(child))


def key(name: bytes, *, is_dir: bool) -> bytes:
    """What a name is sorted by."""
    return name + b"/" if is_dir else name


def folded(name: bytes) -> bytes:
    """The same in small letters, where it is text."""
    return name.decode(errors="surrogateescape").lower().encode(errors="surrogateescape")


def matches(name: bytes, wanted: bytes) -> bool:
    """Whether a name contains `wanted` (which is folded), in whatever case."""
    return wanted in folded(name)
