"""A compact, immutable index of the files of one commit: columns instead of objects, about 120 bytes a file.

_blob     all paths, one after the other        _start[i]  where path i begins (one more for the end)
_size[i]  bytes                                 _hash      32 bytes each
_slot     open-addressing hash table: path → i + 1
_children all entries, grouped by their directory; _directory[i] = (first, last) in it
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from pachmount.errors import DataError
from pachmount.pfs.model import FileEntry

HASH_BYTES = 32
_ROOT = 0


class Listing:
    """Look up by path (bytes with a leading slash, b"/" for the root) and iterate directories, all from memory."""

    __slots__ = ("_blob", "_children", "_directory", "_hash", "_mask", "_size", "_slot", "_start", "total_bytes")

    def __init__(self, entries: Iterable[FileEntry]) -> None:
        """Index `entries` (root left out, each directory before what is below it).

        Missing parents are added. Raises DataError for a path that is listed as both file and directory.
        """
        self._blob = bytearray(b"/")
        self._start = array("Q", (0, 1))
        self._size = array("q", (0,))
        self._hash = bytearray(HASH_BYTES)
        self._directory: dict[int, tuple[int, int]] = {_ROOT: (0, 0)}
        self._mask = 1023
        self._slot = array("I", bytes(4 * (self._mask + 1)))
        self._insert(b"/", _ROOT)
        self.total_bytes = 0
        parents = array("I", (_ROOT,))
        directory, directory_index = b"", _ROOT  # entries of one directory mostly follow each other
        for path, is_dir, size, digest in entries:
            key = path.encode()
            parent = key[: key.rindex(b"/")]
            if parent != directory:
                directory, directory_index = parent, self._add_parents(parent, parents)
            existing = self.find(key)
            if existing is not None:
                if self.is_dir(existing) != is_dir:
                    raise DataError(f"'{path}' is both a file and a directory", "the commit has an error")
                continue
            self._append(key, is_dir, size, digest)
            parents.append(directory_index)
        self._group(parents)

    def __len__(self) -> int:
        """The number of files and directories, without the root."""
        return len(self._size) - 1

    @property
    def memory_bytes(self) -> int:
        """About how much memory the index takes."""
        columns = (self._start, self._size, self._slot, self._children)
        buffers = len(self._blob) + len(self._hash)
        return buffers + sum(column.itemsize * len(column) for column in columns) + 200 * len(self._directory)

    def find(self, path: bytes) -> int | None:
        """The index of a path, or None if there is no such file or directory."""
        slot, start, blob, mask = self._slot, self._start, self._blob, self._mask
        position = hash(path) & mask
        while True:
            found = slot[position]
            if not found:
                return None
            if blob[start[found - 1] : start[found]] == path:
                return found - 1
            position = (position + 1) & mask

    def is_dir(self, index: int) -> bool:
        return index in self._directory

    def size(self, index: int) -> int:
        return self._size[index]

    def digest(self, index: int) -> bytes:
        """The server's content hash (32 bytes)."""
        return bytes(self._hash[index * HASH_BYTES : (index + 1) * HASH_BYTES])

    def path(self, index: int) -> bytes:
        return bytes(self._blob[self._start[index] : self._start[index + 1]])

    def children(self, index: int) -> Iterator[tuple[bytes, int]]:
        """Name and index of each entry of a directory, in the server's order."""
        first, last = self._directory[index]
        skip = 1 if index == _ROOT else self._start[index + 1] - self._start[index] + 1
        blob, start = self._blob, self._start
        for child in self._children[first:last]:
            yield bytes(blob[start[child] + skip : start[child + 1]]), child

    def _append(self, key: bytes, is_dir: bool, size: int, digest: bytes) -> int:
        index = len(self._size)
        self._blob += key
        self._start.append(len(self._blob))
        self._size.append(size)
        self._hash += digest if len(digest) == HASH_BYTES else digest[:HASH_BYTES].ljust(HASH_BYTES, b"\0")
        if is_dir:
            self._directory[index] = (0, 0)
        else:
            self.total_bytes += size
        if 3 * index > 2 * self._mask:
            self._grow()
        self._insert(key, index)
        return index

    def _add_parents(self, path: bytes, parents: array[int]) -> int:
        found = self.find(path or b"/")
        if found is not None:
            if not self.is_dir(found):
                raise DataError(f"'{path.decode()}' is both a file and a directory", "the commit has an error")
            return found
        above = self._add_parents(path[: path.rindex(b"/")], parents)
        index = self._append(path, True, 0, b"")
        parents.append(above)
        return index

    def _insert(self, key: bytes, index: int) -> None:
        position = hash(key) & self._mask
        while self._slot[position]:
            position = (position + 1) & self._mask
        self._slot[position] = index + 1

    def _grow(self) -> None:
        self._mask = 2 * self._mask + 1
        self._slot = array("I", bytes(4 * (self._mask + 1)))
        for index in range(len(self._size)):
            self._insert(self.path(index), index)

    def _group(self, parents: array[int]) -> None:
        """Group the entries by directory, keeping their order (a counting sort)."""
        next_place = dict.fromkeys(self._directory, 0)
        for parent in memoryview(parents)[1:]:
            next_place[parent] += 1
        first = 0
        for index, count in next_place.items():
            self._directory[index] = (first, first + count)
            next_place[index] = first
            first += count
        self._children = array("I", bytes(4 * first))
        for index in range(1, len(parents)):
            parent = parents[index]
            self._children[next_place[parent]] = index
            next_place[parent] += 1
