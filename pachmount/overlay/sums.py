"""Checksums of the staged bytes of a file, block by block, so that damage on the disk is never handed out as content.

A block's checksum is over those of its bytes that are staged. Writing makes it anew: of a block that is written from
its beginning on while the bytes pass, of another one when the file is kept. What was read from the store counts as
unverified until it was compared once.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator

from xxhash import xxh3_64

from pachmount.overlay.extents import Extents

BLOCK_BYTES = 128 << 10
PART_BLOCKS = 64
"""The checksums of so many blocks are one row of the store."""
DAMAGED = "its staged bytes are damaged on the disk"
Read = Callable[[int, int], bytes]
"""Gives the bytes of a file from one offset to another, fewer where there are none."""


class Sums:
    """0 stands for a checksum that is not known. `changed`, `unverified`: sets of block numbers. Not thread-safe.

    `unkept`: the parts that the store has otherwise, each with the number of the change. `guarded`: those of which the
    store does not know that bytes may be overwritten. `is_cut`: the store may have parts that are gone.
    """

    def __init__(self) -> None:
        self.changed = Extents()
        self.unverified = Extents()
        self.unkept: dict[int, int] = {}
        self.guarded: set[int] = set()
        self.is_cut = True
        self._parts: dict[int, array[int]] = {}
        self._changes = 0
        self._tail_block = self._tail_end = -1
        self._tail = xxh3_64()

    def get(self, block: int) -> int:
        part = self._parts.get(block // PART_BLOCKS)
        at = block % PART_BLOCKS
        return part[at] if part is not None and at < len(part) else 0

    def set(self, block: int, value: int) -> None:
        number, at = divmod(block, PART_BLOCKS)
        part = self._parts.setdefault(number, array("Q"))
        if at >= len(part):
            part.extend([0] * (at + 1 - len(part)))
        part[at] = value
        self._changes += 1
        self.unkept[number] = self._changes

    def pack(self, part: int) -> bytes:
        return self._parts[part].tobytes() if part in self._parts else b""

    def unpack(self, part: int, packed: bytes, *, is_open: bool) -> None:
        """What the store has of a part. Raises ValueError if that is damaged."""
        self._parts[part] = array("Q", packed)
        self.is_cut = False
        if not is_open:
            self.guarded.add(part)
        for at, value in enumerate(self._parts[part]):
            if value:
                self.unverified.add(part * PART_BLOCKS + at, part * PART_BLOCKS + at + 1)

    def kept(self, part: int, change: int) -> None:
        """The store has a part as it was after a change."""
        if self.unkept.get(part) == change:
            del self.unkept[part]
        self.guarded.add(part)

    def reopen(self, part: int) -> None:
        """A part is to be kept anew."""
        self._changes += 1
        self.unkept[part] = self._changes
        self.guarded.discard(part)

    def forget(self, part: int) -> None:
        """Do without the checksums of a part."""
        for block in range(part * PART_BLOCKS, (part + 1) * PART_BLOCKS):
            self.unverified.remove(block, block + 1)
        self._parts.pop(part, None)

    def copy(self) -> Sums:
        other = Sums()
        other.changed, other.unverified = self.changed.copy(), self.unverified.copy()
        other.unkept, other.guarded, other.is_cut = dict(self.unkept), set(self.guarded), self.is_cut
        other._parts = {number: part[:] for number, part in self._parts.items()}
        other._changes = self._changes
        return other

    def wrote(self, offset: int, data: bytes, staged: Extents) -> None:
        """Bytes were written, over what was staged before."""
        end = offset + len(data)
        view = memoryview(data)
        for block in blocks(offset, end):
            first, last = block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES
            start, stop = max(offset, first), min(end, last)
            piece = view[start - offset : stop - offset]
            self.touched(block)
            if (start, stop) == (first, last):
                self._made(block, xxh3_64(piece).intdigest())
            elif self._tail_block == block and self._tail_end == start:
                self._tail.update(piece)
                self._tail_end = stop
                if stop == last:
                    self._made(block, self._tail.intdigest())
            elif any(mine for _, _, mine in staged.pieces(first, last)):
                self._tail_block = -1 if self._tail_block == block else self._tail_block
            else:
                self._tail, self._tail_block, self._tail_end = xxh3_64(piece), block, stop

    def touched(self, block: int) -> None:
        """The checksum of a block does not hold any more."""
        self.changed.add(block, block + 1)
        self.unverified.remove(block, block + 1)
        self.set(block, 0)

    def broke_off(self, offset: int, end: int) -> None:
        """A write failed in the middle."""
        self._tail_block = -1
        for block in blocks(offset, end):
            self.touched(block)

    def cut(self, size: int) -> None:
        """Everything from offset `size` on is gone."""
        count = -(-size // BLOCK_BYTES)
        self._tail_block = -1
        self.changed.cut(count)
        self.unverified.cut(count)
        parts = -(-count // PART_BLOCKS)
        for number in [number for number in self._parts if number >= parts]:
            del self._parts[number]
            self.unkept.pop(number, None)
            self.guarded.discard(number)
        last = self._parts.get(parts - 1)
        if last is not None and len(last) > count - (parts - 1) * PART_BLOCKS:
            del last[count - (parts - 1) * PART_BLOCKS :]
            self._changes += 1
            self.unkept[parts - 1] = self._changes
        if size % BLOCK_BYTES and self.get(count - 1):
            self.touched(count - 1)
        self.is_cut = True

    def parts(self) -> int:
        """One more than the number of the last part."""
        return max(self._parts, default=-1) + 1

    def make(self, read: Read, staged: Extents) -> None:
        """Make the checksums of the blocks that were changed."""
        for start, end in list(self.changed):
            for block in range(start, end):
                if block == self._tail_block:
                    self._made(block, self._tail.copy().intdigest())
                else:
                    self._made(block, checksum(read, staged, block))

    def _made(self, block: int, value: int) -> None:
        self.changed.remove(block, block + 1)
        self.set(block, value)

    def needs_look(self, start: int, end: int, *, always: bool) -> Iterator[int]:
        """Blocks from one offset to another that are to be compared: all that have a checksum, or the unverified."""
        if not always and not self.unverified:
            return
        for block in blocks(start, end):
            if self.get(block) and (always or _has(self.unverified, block)):
                yield block

    def is_right(self, block: int, value: int) -> bool:
        """Whether a block has the checksum that was found; if so, it counts as verified."""
        if self.get(block) != value:
            return False
        self.unverified.remove(block, block + 1)
        return True

    def give_up_wrong(self, read: Read, staged: Extents, ranges: Extents) -> bool:
        """Compare all blocks of some ranges, and do without the checksums that do not hold; whether all did."""
        all_right = True
        for block in sorted({block for start, end in ranges for block in blocks(start, end)}):
            known = self.get(block)
            if known and self.is_right(block, checksum(read, staged, block)):
                continue
            all_right = False
            if known:
                self.unverified.remove(block, block + 1)
                self.set(block, 0)
        return all_right


def blocks(start: int, end: int) -> range:
    """The blocks that have bytes from one offset to another."""
    return range(start // BLOCK_BYTES, -(-end // BLOCK_BYTES)) if start < end else range(0)


def checksum(read: Read, staged: Extents, block: int) -> int:
    """Over the staged bytes of a block; 0 if some are not there."""
    made = xxh3_64()
    for start, end, mine in staged.pieces(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES):
        if mine:
            data = read(start, end)
            if len(data) != end - start:
                return 0
            made.update(data)
    return int(made.intdigest())


def reader(descriptor: int) -> Read:
    """Reads a file."""
    return lambda start, end: os.pread(descriptor, end - start, start)


def _has(numbers: Extents, number: int) -> bool:
    return next(numbers.pieces(number, number + 1))[2]
