"""What is known of the staged bytes of a file: which are on the disk for sure, which a power loss may have taken.

A row of the store may reach the disk before the bytes that it speaks of. So it says which of them were not synced when
it was written, and has checksums of all. After the machine stopped, these are looked at: where a checksum does not
hold, the bytes are in doubt, reading those that never were on the disk fails, and the file cannot be committed.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field, replace

from xxhash import xxh3_128

from pachmount.overlay.extents import Extents
from pachmount.overlay.sums import Sums, reader

IN_DOUBT = "it may be incomplete: the machine stopped before it was on the disk"
PIECE_BYTES = 1 << 20


@dataclass(eq=False)
class StagedBytes:
    """The bytes in one file of the store; a file of the mount that is emptied gets another one.

    `number` names it, 0 as long as there is none. `unsynced`: ranges that were never on the disk, but for those of
    `syncing`, of which syncs that are under way take care. `overwritten`: bytes that were on the disk have been
    replaced since, `overwrites` times in this process. `lost`, `mixed`: ranges in doubt after a power loss; the former
    never were on the disk, of the latter an older version was. `sums` has the checksums; `checksum` is that of `unsafe`
    bytes as older versions of the program noted it. `is_careful`: its program uses fsync. `is_named`: its name is on
    the disk.
    """

    number: int = 0
    unsynced: Extents = field(default_factory=Extents)
    syncing: list[Extents] = field(default_factory=list)
    overwritten: bool = False
    overwrites: int = 0
    lost: Extents = field(default_factory=Extents)
    mixed: Extents = field(default_factory=Extents)
    sums: Sums = field(default_factory=Sums)
    checksum: bytes = b""
    is_careful: bool = False
    is_named: bool = False

    @property
    def is_unsynced(self) -> bool:
        """Whether a power loss could take something."""
        return bool(self.unsynced) or self.overwritten or any(self.syncing)

    @property
    def is_in_doubt(self) -> bool:
        """Whether a power loss took something, perhaps."""
        return bool(self.lost) or bool(self.mixed)

    def never_synced(self) -> Extents:
        """Ranges of which nothing is on the disk for sure."""
        ranges = self.unsynced.copy()
        for others in self.syncing:
            ranges.update(others)
        return ranges

    def unsafe(self, staged: Extents) -> Extents:
        """Of the staged ranges those that a checksum has to vouch for."""
        return staged if self.overwritten else staged.common(self.never_synced())

    def wrote(self, start: int, end: int, staged: Extents) -> None:
        """Bytes were written, over what was staged before."""
        safe = Extents()
        for begin, stop, mine in staged.pieces(start, end):
            if mine:
                safe.add(begin, stop)
        for begin, stop in (*self.never_synced(), *self.lost):
            safe.remove(begin, stop)
        self.unsynced.add(start, end)
        for begin, stop in safe:
            self.unsynced.remove(begin, stop)
        self.lost.remove(start, end)
        self.mixed.remove(start, end)

    def cut(self, size: int) -> None:
        """Everything from offset `size` on is gone."""
        for ranges in (self.unsynced, *self.syncing, self.lost, self.mixed):
            ranges.cut(size)
        self.sums.cut(size)

    def copy(self) -> StagedBytes:
        """The same ranges, to `restore` them."""
        ranges = {name: getattr(self, name).copy() for name in ("unsynced", "lost", "mixed")}
        return replace(self, **ranges, syncing=[each.copy() for each in self.syncing], sums=self.sums.copy())

    def restore(self, former: StagedBytes) -> None:
        """Take back a `cut`."""
        self.unsynced, self.lost, self.mixed, self.sums = former.unsynced, former.lost, former.mixed, former.sums
        for ranges, before in zip(self.syncing, former.syncing, strict=False):
            ranges.update(before)

    def begin_sync(self) -> tuple[Extents, int]:
        """All that was written so far is about to be synced; what `end_sync` needs."""
        taken, self.unsynced = self.unsynced, Extents()
        self.syncing.append(taken)
        return taken, self.overwrites

    def end_sync(self, begun: tuple[Extents, int], *, worked: bool) -> None:
        """The sync is done; what was written over meanwhile is unsynced still."""
        taken, overwrites = begun
        self.syncing = [ranges for ranges in self.syncing if ranges is not taken]
        if not worked:
            self.unsynced.update(taken)
            return
        again = self.unsynced.common(taken)
        for start, end in again:
            self.unsynced.remove(start, end)
        self.overwritten = bool(again) or self.overwrites != overwrites

    def settle(self, staged: Extents, descriptor: int | None) -> None:
        """After the machine stopped: find out which of the staged bytes are as they were kept."""
        unsafe = self.unsafe(staged)
        read = reader(descriptor) if descriptor is not None else (lambda _start, _end: b"")
        is_whole = self.sums.give_up_wrong(read, staged, unsafe)
        if not is_whole and self.checksum and descriptor is not None:
            is_whole = checksum(descriptor, unsafe) == self.checksum
        if not is_whole:
            lost = staged.common(self.unsynced)
            self.lost.update(lost)
            if self.overwritten:
                self.mixed.update(staged.without(lost))
        self.unsynced, self.overwritten = Extents(), False


def checksum(descriptor: int, ranges: Extents) -> bytes:
    """Over bytes of a file and where they are; b"" if some are not there."""
    found = xxh3_128()
    for start, end in ranges:
        found.update(struct.pack("<QQ", start, end))
        while start < end:
            data = os.pread(descriptor, min(PIECE_BYTES, end - start), start)
            if not data:
                return b""
            found.update(data)
            start += len(data)
    return found.digest()
