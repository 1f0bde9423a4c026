"""Pages of the directories of a read-write mount: staged entries among those of the commit."""

from __future__ import annotations

import heapq
import stat
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from pachmount.overlay.inodes import File, Inode, Symlink
from pachmount.overlay.names import Found
from pachmount.overlay.overlay import Overlay, StagedEntries
from pachmount.vfs import pages
from pachmount.vfs.listed import ListedDirectory, key, matches
from pachmount.vfs.listing import Listing
from pachmount.vfs.pages import NO_DIGEST, Asked, Entry, Kind, Page
from pachmount.vfs.view import CommitView

_NANOSECONDS = 1e9


@dataclass(frozen=True)
class StagedNames:
    """The staged entries of a directory in order, those with the wanted names; `total` counts the commit's as well."""

    keys: list[bytes]
    inodes: list[Inode]
    total: int

    def __len__(self) -> int:
        return len(self.keys)

    def after(self, marker: bytes) -> Iterator[tuple[bytes, Inode]]:
        first = bisect_right(self.keys, marker)
        return zip(islice(self.keys, first, None), islice(self.inodes, first, None), strict=True)


def page_of(overlay: Overlay, path: bytes, asked: Asked) -> Page:
    """A page of a directory, as `vfs.pages.page_of`. Raises OSError, or PachmountError if the cluster does not tell.

    The sizes of directories are 0: it would take a walk to know them.
    """
    found = overlay.entries(path)
    view, base_path = found.base, found.base_path
    assert isinstance(view, CommitView)  # noqa: S101  # what every mount stands on
    if not found.entries and base_path is not None:
        page = pages.page_of(view, base_path, asked)
        return page._replace(entries=[_without_size(entry) for entry in page.entries])
    listing = listed = None
    if base_path is not None:
        listing, index = view.directory(base_path, lambda _growing: False)
        listed = pages.listed_directory(view, base_path, listing, index, asked.wanted)
    moment = (found.generation, view.commit.id, id(view))
    staged: StagedNames = overlay.listed.get(
        (path, asked.wanted, moment), lambda: _in_order(found, listing, listed, asked.wanted)
    )
    merged: Iterator[tuple[bytes, Inode | int]] = heapq.merge(
        staged.after(asked.marker), _not_staged(found, listed, asked.marker), key=lambda pair: pair[0]
    )
    page_and_one = list(islice(merged, asked.number + 1))
    entries = [
        inode_entry(name.rstrip(b"/"), each) if isinstance(each, Inode) else _listed(view, listing, each)
        for name, each in page_and_one[: asked.number]
    ]
    return Page(entries, staged.total, is_last=len(page_and_one) <= asked.number)


def entry_of(overlay: Overlay, path: bytes, found: Found) -> Entry:
    """What was found at a path."""
    name = path.rpartition(b"/")[2]
    if isinstance(found, Inode):
        return inode_entry(name, found)
    node = found.node
    digest = NO_DIGEST if node.is_dir else node.digest
    return Entry(name, "dir" if node.is_dir else "file", node.size, digest, overlay.base.time)


def inode_entry(name: bytes, inode: Inode) -> Entry:
    """A staged object under one of its names."""
    size = inode.size if isinstance(inode, File) else len(inode.target) if isinstance(inode, Symlink) else 0
    return Entry(name, _kind(inode.mode), size, NO_DIGEST, inode.mtime / _NANOSECONDS)


def _in_order(
    found: StagedEntries, listing: Listing | None, listed: ListedDirectory | None, wanted: bytes
) -> StagedNames:
    prefix = (found.base_path or b"").rstrip(b"/") + b"/"
    named = {name: inode for name, inode in found.entries.items() if not wanted or matches(name, wanted)}
    ordered = sorted(
        ((key(name, is_dir=inode.is_directory), inode) for name, inode in named.items() if inode is not None),
        key=lambda pair: pair[0],
    )
    total = len(ordered)
    if listing is not None and listed is not None:
        total += len(listed) - sum(1 for name in named if listing.find(prefix + name) is not None)
    return StagedNames([name for name, _ in ordered], [inode for _, inode in ordered], total)


def _not_staged(found: StagedEntries, listed: ListedDirectory | None, marker: bytes) -> Iterator[tuple[bytes, int]]:
    """The entries of the commit behind a marker that no staged one replaces or hides."""
    if listed is not None:
        for name, child in listed.after(marker):
            if name.rstrip(b"/") not in found.entries:
                yield name, child


def _listed(view: CommitView, listing: Listing | None, child: int) -> Entry:
    assert listing is not None  # noqa: S101  # it has the child
    return pages.listed_entry(view, listing, child, 0 if listing.is_dir(child) else listing.size(child))


def _without_size(entry: Entry) -> Entry:
    return entry._replace(size=0) if entry.kind == "dir" else entry


def _kind(mode: int) -> Kind:
    return "dir" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "link" if stat.S_ISLNK(mode) else "other"
