"""Which bytes of a file are staged: disjoint ranges in order."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

_PAIR = struct.Struct("<QQ")


class Extents:
    """A set of byte offsets as ranges [start, end). Not thread-safe."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._size = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._starts, self._ends, strict=True))

    def __bool__(self) -> bool:
        return bool(self._starts)

    @property
    def size(self) -> int:
        """How many bytes are in the set."""
        return self._size

    def add(self, start: int, end: int) -> None:
        """Put [start, end) into the set; ranges that touch become one."""
        if start >= end:
            return
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if first < last:
            self._size -= self._length(first, last)
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._size += end - start
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def cut(self, size: int) -> None:
        """Take everything from offset `size` on out of the set."""
        count = bisect_left(self._starts, size)
        self._size -= self._length(count, len(self._ends))
        del self._starts[count:], self._ends[count:]
        if count and self._ends[-1] > size:
            self._size -= self._ends[-1] - size
            self._ends[-1] = size

    def remove(self, start: int, end: int) -> None:
        """Take [start, end) out of the set."""
        first, last = bisect_right(self._ends, start), bisect_left(self._starts, end)
        if start >= end or first >= last:
            return
        left = [(self._starts[first], start), (end, self._ends[last - 1])]
        left = [(begin, stop) for begin, stop in left if begin < stop]
        self._size += sum(stop - begin for begin, stop in left) - self._length(first, last)
        self._starts[first:last] = [begin for begin, _ in left]
        self._ends[first:last] = [stop for _, stop in left]

    def update(self, other: Extents) -> None:
        """Put all that is in `other` into the set."""
        for start, end in other:
            self.add(start, end)

    def copy(self) -> Extents:
        """Another set of the same."""
        other = Extents()
        other._starts, other._ends, other._size = self._starts[:], self._ends[:], self._size
        return other

    def common(self, other: Extents) -> Extents:
        """What is in both."""
        both = Extents()
        for start, end in other:
            for begin, stop, mine in self.pieces(start, end):
                if mine:
                    both.add(begin, stop)
        return both

    def without(self, other: Extents) -> Extents:
        """What is not in `other`."""
        rest = self.copy()
        for start, end in other:
            rest.remove(start, end)
        return rest

    def pieces(self, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """[start, end) in order, cut where it enters or leaves the set: from, to, whether it is in the set."""
        for index in range(bisect_right(self._ends, start), len(self._starts)):
            if start >= end or self._starts[index] >= end:
                break
            if start < self._starts[index]:
                yield start, self._starts[index], False
                start = self._starts[index]
            stop = min(end, self._ends[index])
            yield start, stop, True
            start = stop
        if start < end:
            yield start, end, False

    def _length(self, first: int, last: int) -> int:
        """How many bytes are in some of the ranges."""
        return sum(self._ends[first:last]) - sum(self._starts[first:last])

    def pack(self) -> bytes:
        """The ranges as pairs of little-endian 64-bit numbers."""
        return b"".join(map(_PAIR.pack, self._starts, self._ends))

    @classmethod
    def unpack(cls, data: bytes) -> Extents:
        """What `pack` gave. Raises struct.error where it did not."""
        extents = cls()
        for start, end in _PAIR.iter_unpack(data):
            extents.add(start, end)
        return extents
