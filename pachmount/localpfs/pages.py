"""Pages of the file tree: their bytes in the database, and a bounded cache of decoded ones.

A leaf page is stored by columns, so that the hashes of many neighbours can be taken as one piece.
"""

from __future__ import annotations

import struct
import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

HASH = 32
_NONE = bytes(HASH)  # stands for the chunk of an entry that has not just one
_HEADER = struct.Struct("<BHH")  # kind of page, number of items, length of the prefix common to all keys
_LEAF = 1
_INNER = 2


class Entry(NamedTuple):
    """What the tree knows of one file or directory.

    `size` is in bytes (of a directory: of all files below it), `hash` is what FileInfo shows. `chunk` names the only
    chunk of a file that has just one; with more chunks their list is itself a chunk, named `hash`.
    """

    is_dir: bool
    size: int
    hash: bytes
    chunk: bytes = b""


Item = tuple[bytes, Entry]


class Leaf:
    """A decoded leaf page: columns of equal length, in the order of the keys."""

    __slots__ = ("chunks", "hashes", "keys", "kinds", "sizes", "tagged")

    def __init__(self, keys: list[bytes], kinds: bytes, sizes: Sequence[int], hashes: bytes, chunks: bytes) -> None:
        self.keys = keys
        self.kinds = kinds
        self.sizes = sizes
        self.hashes = hashes
        self.chunks = chunks
        self.tagged = any(b"\0" in key for key in keys)

    def entry(self, index: int) -> Entry:
        start = index * HASH
        chunk = self.chunks[start : start + HASH]
        chunk = b"" if chunk == _NONE else chunk
        return Entry(self.kinds[index] == 1, self.sizes[index], self.hashes[start : start + HASH], chunk)

    def item(self, index: int) -> Item:
        return self.keys[index], self.entry(index)

    def items(self) -> list[Item]:
        return [(key, self.entry(index)) for index, key in enumerate(self.keys)]

    def position(self, key: bytes) -> int:
        """Index of the first key that is not less than `key`."""
        return bisect_left(self.keys, key)


class Inner:
    """A decoded inner page: the first key below each child, and the children's page ids."""

    __slots__ = ("children", "keys")

    def __init__(self, keys: list[bytes], children: Sequence[int]) -> None:
        self.keys = keys
        self.children = children


Page = Leaf | Inner


def encode_leaf(items: list[Item]) -> bytes:
    """The bytes of a leaf page that holds `items`, which are in order and not empty."""
    kinds = bytes(entry.is_dir for _, entry in items)
    sizes = array("Q", [entry.size for _, entry in items])
    hashes = b"".join(entry.hash for _, entry in items)
    chunks = b"".join(entry.chunk or _NONE for _, entry in items)
    return _encode_keys(_LEAF, [key for key, _ in items]) + kinds + sizes.tobytes() + hashes + chunks


def encode_inner(children: list[tuple[bytes, int]]) -> bytes:
    """The bytes of an inner page over `children` (first key, page id)."""
    ids = array("Q", [child for _, child in children])
    return _encode_keys(_INNER, [key for key, _ in children]) + ids.tobytes()


def _encode_keys(kind: int, keys: list[bytes]) -> bytes:
    prefix = _common_prefix(keys[0], keys[-1])  # keys are in order, so that the ends have what all have
    cut = len(prefix)
    suffixes = [key[cut:] for key in keys]
    lengths = array("H", [len(suffix) for suffix in suffixes])
    return b"".join((_HEADER.pack(kind, len(keys), cut), prefix, lengths.tobytes(), *suffixes))


def _common_prefix(first: bytes, last: bytes) -> bytes:
    for at, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return first[:at]
    return first  # being in order, the last one is not the shorter


def decode(data: bytes) -> Page:
    """The page that `encode_leaf` or `encode_inner` made these bytes of."""
    kind, count, cut = _HEADER.unpack_from(data)
    at = _HEADER.size
    prefix = data[at : at + cut]
    at += cut
    lengths = array("H", data[at : at + 2 * count])
    at += 2 * count
    keys = []
    for length in lengths:
        keys.append(prefix + data[at : at + length])
        at += length
    if kind == _INNER:
        return Inner(keys, array("Q", data[at : at + 8 * count]))
    kinds = data[at : at + count]
    at += count
    sizes = array("Q", data[at : at + 8 * count])
    at += 8 * count
    hashes = data[at : at + HASH * count]
    return Leaf(keys, kinds, sizes, hashes, data[at + HASH * count :])


class PageCache:
    """Decoded pages, least recently used first out; thread-safe. `limit` is in bytes, estimated."""

    _OVERHEAD = 3  # a decoded page takes about this many times its encoded size

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._pages: OrderedDict[int, tuple[Page, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, page_id: int) -> Page | None:
        with self._lock:
            found = self._pages.get(page_id)
            if found is None:
                return None
            self._pages.move_to_end(page_id)
            return found[0]

    def put(self, page_id: int, page: Page, encoded_size: int) -> None:
        cost = encoded_size * self._OVERHEAD
        with self._lock:
            if page_id in self._pages:
                return
            self._pages[page_id] = (page, cost)
            self._held += cost
            while self._held > self._limit:
                _, (_, freed) = self._pages.popitem(last=False)
                self._held -= freed

    def clear(self) -> None:
        with self._lock:
            self._pages.clear()
            self._held = 0
