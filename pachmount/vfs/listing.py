"""A compact index of the files of one commit: columns instead of objects, about 100 bytes a file.

Entries stand in the order of the server's walk, depth first, so that what lies below a directory follows it at once:

_blob     all paths, one after the other        _start[i]  where path i begins (one more for the end)
_size[i]  bytes, 0 for a directory               _hash      32 bytes each, zeros for a directory
_end[i]   0 for a file, for a directory the index behind its last descendant
_slot     open-addressing hash table: path → i + 1; its hash is the same in every process
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any
from zlib import crc32

from pachmount.errors import DataError
from pachmount.pfs.model import FileEntry

HASH_BYTES = 32
_ROOT = 0
_SECTIONS = 7
_OPEN = 0xFFFFFFFF
"""The end of a directory whose last descendant may not have come yet."""
_FIRST_SLOTS = 16
_SUM_SLICE = 1 << 16
_SPREAD = 0x9E3779B1
"""Multiplies checksums, so that those of similar names (which are similar) fall into slots far from each other."""


class Listing:
    """Look up by path (bytes with a leading slash, b"/" for the root) and iterate directories, all from memory."""

    __slots__ = ("__weakref__", "_blob", "_end", "_hash", "_size", "_slot", "_start", "total_bytes")

    _blob: bytearray
    _hash: bytearray
    _start: array[int]
    _size: array[int]
    _end: array[int]
    _slot: array[int]
    total_bytes: int

    @classmethod
    def restored(cls, sections: Sequence[bytes | bytearray]) -> Listing | None:
        """The listing that `sections` came from; None if they do not fit together."""
        listing = cls()
        if len(sections) != _SECTIONS:
            return None
        blob, digests, start, size, end, slot, total = sections
        listing._blob, listing._hash = bytearray(blob), bytearray(digests)
        listing._start, listing._size = array("Q", start), array("q", size)
        listing._end, listing._slot = array("I", end), array("I", slot)
        count = len(listing._end)
        fits = count and (len(listing._start), len(listing._size)) == (count + 1, count)
        if not fits or len(listing._hash) != HASH_BYTES * count or listing._start[-1] != len(listing._blob):
            return None
        listing.total_bytes = sum(listing._size)
        return listing if array("q", total) == array("q", (listing.total_bytes,)) else None

    def sections(self) -> list[memoryview]:
        """All that it knows, as bytes; only of a finished listing."""
        total = array("q", (self.total_bytes,))
        columns = (self._blob, self._hash, self._start, self._size, self._end, self._slot, total)
        return [memoryview(column).cast("B") for column in columns]

    def root_hash(self) -> bytes:
        """The server's hash of all files, which covers their order but not their names; of a finished listing."""
        hashes: list[tuple[int, Any]] = [(len(self._end), blake2b(digest_size=HASH_BYTES))]
        for index in range(1, len(self._end)):
            while hashes[-1][0] <= index:
                done = hashes.pop()[1].digest()
                hashes[-1][1].update(done)
            if self._end[index]:
                hashes.append((self._end[index], blake2b(digest_size=HASH_BYTES)))
            else:
                hashes[-1][1].update(self.digest(index))
        while len(hashes) > 1:
            done = hashes.pop()[1].digest()
            hashes[-1][1].update(done)
        return bytes(hashes[0][1].digest())

    def __len__(self) -> int:
        """The number of files and directories, without the root."""
        return len(self._end) - 1

    @property
    def memory_bytes(self) -> int:
        """About how much memory the index takes."""
        columns = (self._start, self._size, self._end, self._slot)
        return len(self._blob) + len(self._hash) + sum(column.itemsize * len(column) for column in columns)

    def find(self, path: bytes) -> int | None:
        """The index of a path, or None if there is no such file or directory."""
        slot, start, blob = self._slot, self._start, self._blob
        mask = len(slot) - 1
        position = (crc32(path) * _SPREAD >> 15) & mask
        while True:
            found = slot[position]
            if not found:
                return None
            if blob[start[found - 1] : start[found]] == path:
                return found - 1
            position = (position + 1) & mask

    def is_dir(self, index: int) -> bool:
        return self._end[index] != 0

    def size(self, index: int) -> int:
        return self._size[index]

    def digest(self, index: int) -> bytes:
        """The server's content hash (32 bytes)."""
        return bytes(self._hash[index * HASH_BYTES : (index + 1) * HASH_BYTES])

    def path(self, index: int) -> bytes:
        return bytes(self._blob[self._start[index] : self._start[index + 1]])

    def files(self) -> Iterator[tuple[bytes, int, bytes]]:
        """Path, size and digest of each file, in the order of paths; only of a finished listing."""
        for index, end in enumerate(self._end):
            if not end:
                yield self.path(index), self._size[index], self.digest(index)

    def has_all(self, index: int) -> bool:
        """Whether all entries of a directory, and what is below them, have come."""
        return self._end[index] != _OPEN

    def following(self, index: int) -> int:
        """The index behind an entry and all that is below it; only of one of which `has_all` is true."""
        return self._end[index] or index + 1

    def bytes_below(self, index: int) -> int:
        """The size of a file, or of everything below a directory of which `has_all` is true."""
        total, position, last = self._size[index], index + 1, self._end[index]
        while position < last:  # in slices: a view of the whole column would keep it from growing
            following = min(position + _SUM_SLICE, last)
            total += sum(self._size[position:following])
            position = following
        return total

    def children(self, index: int, first: int | None = None) -> Iterator[tuple[bytes, int]]:
        """Name and index of each entry of a directory, in the server's order; from the entry `first` on."""
        blob, start, end = self._blob, self._start, self._end
        skip = 1 if index == _ROOT else start[index + 1] - start[index] + 1
        child, last = index + 1 if first is None else first, min(end[index], len(end))
        while child < last:
            yield bytes(blob[start[child] + skip : start[child + 1]]), child
            child = end[child] or child + 1


class GrowingListing(Listing):
    """A listing while it is filled, by one thread; others may look things up in it meanwhile, without a lock.

    That is sound because an entry is complete before its slot is set, and a bigger table before it is used.
    """

    __slots__ = ("_above", "_below", "directories")

    def __init__(self) -> None:
        self._blob = bytearray(b"/")
        self._hash = bytearray(HASH_BYTES)
        self._start = array("Q", (0, 1))
        self._size = array("q", (0,))
        self._end = array("I", (_OPEN,))
        self._slot = array("I", bytes(4 * _FIRST_SLOTS))
        self._slot[self._position(b"/")] = 1
        self.total_bytes = 0
        self.directories = 1
        self._below = b"/"  # the directory that the walk is in, with a trailing slash
        self._above: list[tuple[bytes, int]] = [(b"/", _ROOT)]  # that one and those above it, with their indexes

    @classmethod
    def of(cls, entries: Iterable[FileEntry]) -> Listing:
        """The finished listing of some entries, as `add` wants them."""
        listing = cls()
        for path, is_dir, size, digest in entries:
            listing.add(path.encode(), is_dir, size, digest)
        listing.finish()
        return listing

    @classmethod
    def changed(cls, former: Listing, changes: Mapping[bytes, FileEntry | None]) -> Listing:
        """The finished listing of a commit that differs from another by some files: their entries; None: not there."""
        listing = cls()
        added = iter(sorted((path, entry) for path, entry in changes.items() if entry is not None))
        following = next(added, None)
        for path, size, digest in former.files():
            while following is not None and following[0] < path:
                listing.add(following[0], False, following[1].size, following[1].hash)
                following = next(added, None)
            if path not in changes:
                listing.add(path, False, size, digest)
        while following is not None:
            listing.add(following[0], False, following[1].size, following[1].hash)
            following = next(added, None)
        listing.finish()
        return listing

    def add(self, path: bytes, is_dir: bool, size: int, digest: bytes) -> None:
        """Append an entry (not the root), in the order of a walk; missing parents are added, the same again is ignored.

        Size and digest of a directory are not kept: no view shows them. Raises DataError for a path that is both file
        and directory, and for a walk that comes back to a directory.
        """
        below = path[: path.rindex(b"/") + 1]
        if is_dir:
            if self._below != path + b"/":
                self.enter(path + b"/")
            return
        if below != self._below:
            self.enter(below)
        position = self._position(path)
        existing = self._slot[position]
        if not existing:
            self._append(position, path, size, digest, 0)
            self.total_bytes += size
        elif self._end[existing - 1]:
            raise _both(path)

    def add_closed(self, path: bytes, size: int) -> None:
        """Append a directory of which only the size is told, not what is below it: for a listing of one directory."""
        self.add(path, True, 0, b"")
        self._size[-1] = size

    def enter(self, directory: bytes) -> None:
        """Go on in `directory` (with a trailing slash): the ones left behind are complete, missing ones are added."""
        above, end = self._above, self._end
        while not directory.startswith(above[-1][0]):
            end[above.pop()[1]] = len(end)
        while above[-1][0] != directory:
            below = directory[: directory.index(b"/", len(above[-1][0])) + 1]
            path, index = below[:-1], len(end)
            position = self._position(path)
            existing = self._slot[position]
            if existing and not end[existing - 1]:
                raise _both(path)
            if existing:
                raise DataError(f"'{path.decode()}' is listed in pieces", "the listing is not in the order of paths")
            self._append(position, path, 0, b"", _OPEN)
            self.directories += 1
            above.append((below, index))
        self._below = directory

    def finish(self) -> None:
        """All entries have come."""
        for _, index in self._above:
            self._end[index] = len(self._end)

    def knows(self, path: bytes) -> bool:
        """Whether it is certain by now whether there is something at `path`: it is there, or certainly not."""
        return self.find(path) is not None or self._is_absent(path)

    def knows_children(self, path: bytes) -> bool:
        """Whether all entries of the directory `path` have come, or it is certain that there is no such directory."""
        index = self.find(path)
        return self._is_absent(path) if index is None else self._end[index] != _OPEN

    def is_in(self, directory: bytes) -> bool:
        """Whether the walk is among the entries of this very directory, not below one of them."""
        return self._below == (directory if directory == b"/" else directory + b"/")

    def _is_absent(self, path: bytes) -> bool:
        """Whether a directory above `path` has all its entries, and that they are all is known: its sum was right.

        That the walk is past the path is not enough: entries may have been lost on the way.
        """
        while True:
            path = path[: path.rindex(b"/")] or b"/"
            index = self.find(path)
            if index is not None:
                return self._end[index] != _OPEN
            if path == b"/":
                return False

    def _position(self, path: bytes) -> int:
        """The slot that holds the path, or the empty one where it belongs."""
        slot, start, blob = self._slot, self._start, self._blob
        mask = len(slot) - 1
        position = (crc32(path) * _SPREAD >> 15) & mask
        while found := slot[position]:
            if blob[start[found - 1] : start[found]] == path:
                break
            position = (position + 1) & mask
        return position

    def _append(self, position: int, path: bytes, size: int, digest: bytes, end: int) -> None:
        self._blob += path
        self._start.append(len(self._blob))
        self._size.append(size)
        self._hash += digest if len(digest) == HASH_BYTES else digest[:HASH_BYTES].ljust(HASH_BYTES, b"\0")
        self._end.append(end)
        count = len(self._end)
        self._slot[position] = count
        if 3 * count > 2 * len(self._slot):
            self._grow()

    def _grow(self) -> None:
        slot, start, blob = array("I", bytes(8 * len(self._slot))), self._start, self._blob
        mask = len(slot) - 1
        first = 0
        for number in range(1, len(start)):
            last = start[number]
            position = (crc32(blob[first:last]) * _SPREAD >> 15) & mask
            while slot[position]:
                position = (position + 1) & mask
            slot[position] = number
            first = last
        self._slot = slot


def _both(path: bytes) -> DataError:
    return DataError(f"'{path.decode()}' is both a file and a directory", "the commit has an error")
