"""A seekable file of Python's over reads of ranges."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

FIRST_WINDOW, LARGEST_WINDOW = 128 << 10, 8 << 20
"""Bytes that are asked for at a time: more and more while the file is read in sequence."""


class RangeReader(io.RawIOBase):
    """A file that is read range by range, so that no connection waits while nobody reads."""

    def __init__(self, path: str, size: int, read: Callable[[str, int, int], bytes]) -> None:
        """`read` gives the bytes [start, end) of the file at a path."""
        super().__init__()
        self._path = path
        self._size = size
        self._read = read
        self._at = 0
        self._window = FIRST_WINDOW
        self._held = memoryview(b"")
        self._held_from = 0

    @property
    def name(self) -> str:
        return self._path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        if self._at >= self._size or not len(target):
            return 0
        held = self._at - self._held_from
        if not 0 <= held < len(self._held):
            self._fetch(len(target), is_next=held == len(self._held))
            held = 0
        piece = self._held[held : held + len(target)]
        target[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _fetch(self, wanted: int, *, is_next: bool) -> None:
        """Hold what begins at the position."""
        self._window = min(2 * self._window, LARGEST_WINDOW) if is_next else FIRST_WINDOW
        size = min(max(wanted, self._window), LARGEST_WINDOW)
        end = min(self._at + size, self._size)
        self._held = memoryview(self._read(self._path, self._at, end))
        self._held_from = self._at
