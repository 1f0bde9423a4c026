"""Checking file trees: pages, their order, directories, and the chunks that files refer to."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import NamedTuple

from pachmount.errors import DataError
from pachmount.localpfs import paths, tree
from pachmount.localpfs.content import CHUNK_BYTES, digest
from pachmount.localpfs.pages import HASH, Entry, Inner, Item, Leaf, Page, decode
from pachmount.localpfs.pagestore import intact
from pachmount.localpfs.tree import EMPTY

Complain = Callable[[str], None]

_EMPTY_HASH = digest(b"")


class _Seen(NamedTuple):
    """What is known of a page that was looked at; pages are shared by many trees."""

    height: int
    first: bytes
    last: bytes


class Pages:
    """Reads pages for the check; keeps none, so that memory does not grow with the store."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def load(self, page_id: int) -> Page:
        row = self._db.execute("SELECT data, crc FROM page WHERE id = ?", (page_id,)).fetchone()
        data = intact(page_id, row)
        try:
            page = decode(data)
        except (struct.error, ValueError, IndexError) as error:
            raise DataError(f"page {page_id} cannot be decoded: {error}") from error
        count = len(page.keys)
        if isinstance(page, Inner):
            complete = len(page.children) == count
        else:
            wanted = (count, count, count * HASH, count * HASH)
            complete = (len(page.kinds), len(page.sizes), len(page.hashes), len(page.chunks)) == wanted
        if not complete or not count:
            raise DataError(f"page {page_id} is not complete")
        return page


class TreeCheck:
    """Looks at trees one after the other; at pages that they share only once.

    `lengths` gives the length of a chunk or None, `listed` the bytes of a chunk that is a list, `need` takes the names
    of chunks that files refer to.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        lengths: Callable[[bytes], int | None],
        listed: Callable[[bytes], bytes],
        need: Callable[[list[bytes]], None],
    ) -> None:
        self._pages = Pages(db)
        self._lengths = lengths
        self._listed = listed
        self._need = need
        self.seen: dict[int, _Seen | None] = {}
        self.files = 0

    def check(self, root: int, complain: Complain) -> None:
        if root == EMPTY:
            return
        if self._page(root, b"", None, complain) is not None:
            check_directories(tree.scan(self._pages, root), complain)

    def _page(self, page_id: int, low: bytes, high: bytes | None, complain: Complain) -> _Seen | None:
        if page_id not in self.seen:
            self.seen[page_id] = None
            try:
                page = self._pages.load(page_id)
            except DataError as error:
                complain(str(error))
                return None
            self.seen[page_id] = self._looked_at(page_id, page, complain)
        found = self.seen[page_id]
        if found is not None and (found.first < low or (high is not None and found.last >= high)):
            complain(f"page {page_id} has keys that do not belong where it hangs in the tree")
            return None
        return found

    def _looked_at(self, page_id: int, page: Page, complain: Complain) -> _Seen | None:
        if any(one >= other for one, other in zip(page.keys, page.keys[1:], strict=False)):
            complain(f"the keys of page {page_id} are not in order")
            return None
        if isinstance(page, Leaf):
            self._files(page, complain)
            return _Seen(0, page.keys[0], page.keys[-1])
        below = []
        for at, child in enumerate(page.children):
            high = page.keys[at + 1] if at + 1 < len(page.keys) else None
            below.append(self._page(child, page.keys[at], high, complain))
        known = [child for child in below if child is not None]
        if len(known) < len(below):
            return None
        if len({child.height for child in known}) > 1:
            complain(f"the pages below page {page_id} are not on one level")
            return None
        return _Seen(known[0].height + 1, known[0].first, known[-1].last)

    def _files(self, leaf: Leaf, complain: Complain) -> None:
        names: list[bytes] = []
        for key, entry in leaf.items():
            if entry.is_dir != key.endswith(b"/"):
                complain(f"{shown(key)} is neither a file nor a directory")
            elif not entry.is_dir:
                self.files += 1
                problem = self._content(entry, names)
                if problem:
                    complain(f"{shown(key)}: {problem}")
        self._need(names)

    def _content(self, entry: Entry, names: list[bytes]) -> str:
        """What is wrong with what a file refers to, or ""; its chunks are added to `names`."""
        if not entry.size:
            return "" if entry.hash == _EMPTY_HASH and not entry.chunk else "the hash of an empty file is wrong"
        if entry.chunk:
            names.append(entry.chunk)
            if digest(entry.chunk) != entry.hash:
                return "its hash does not match its chunk"
            chunks = [entry.chunk]
        else:
            names.append(entry.hash)
            try:
                listed = self._listed(entry.hash)
            except (DataError, OSError) as error:
                return f"the list of its chunks cannot be read: {error}"
            chunks = [listed[at : at + HASH] for at in range(0, len(listed), HASH)]
            names.extend(chunks)
        lengths = [self._lengths(name) for name in chunks]
        missing = [name.hex() for name, length in zip(chunks, lengths, strict=True) if length is None]
        if missing:
            return f"{len(missing)} of its {len(chunks)} chunks are missing, the first is {missing[0]}"
        full, rest = divmod(entry.size, CHUNK_BYTES)
        if lengths != [CHUNK_BYTES] * full + ([rest] if rest else []):
            return f"its chunks do not add up to its {entry.size} bytes"
        return ""


class _Open(NamedTuple):
    """A directory whose children are being looked at."""

    key: bytes
    entry: Entry
    hashed: blake2b
    sizes: list[int]


def check_directories(items: Iterator[Item], complain: Complain) -> None:
    """Compute size and hash of all directories of a tree anew, in one pass in the order of the keys."""
    above: list[_Open] = []
    for key, entry in items:
        while above and not key.startswith(above[-1].key):
            _close(above.pop(), complain)
        if key[:1] != paths.ROOT:
            continue  # the file that a write to "/" makes belongs to no directory
        if key != paths.ROOT:
            if not above or above[-1].key != paths.parent(key):
                complain(f"{shown(key)} has no directory above it")
            else:
                above[-1].hashed.update(entry.hash)
                above[-1].sizes.append(entry.size)
        if entry.is_dir:
            above.append(_Open(key, entry, blake2b(digest_size=HASH), []))
    while above:
        _close(above.pop(), complain)


def _close(directory: _Open, complain: Complain) -> None:
    key, entry, hashed, sizes = directory
    if not sizes:
        complain(f"the directory {shown(key)} is empty")
    elif sum(sizes) != entry.size:
        complain(f"the directory {shown(key)} has {sum(sizes)} bytes, {entry.size} are noted")
    elif hashed.digest() != entry.hash:
        complain(f"the hash of the directory {shown(key)} is wrong")


def shown(key: bytes) -> str:
    """A key of a tree for people."""
    path, _, datum = key.partition(b"\0")
    text = path.decode(errors="replace") or "/"
    return f"{text} (datum {datum.decode(errors='replace')})" if datum else text
