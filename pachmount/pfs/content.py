"""The content of files as a stream: in pieces that may be kept, or into memory of the reader's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Pieces(Protocol):
    """Pieces of content, each valid until the next one is asked for."""

    def __iter__(self) -> Iterator[memoryview]: ...

    def cancel(self) -> None: ...


class ContentStream:
    """A ByteStream over pieces; for one reading thread at a time."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._iterator: Iterator[memoryview] | None = None
        self._rest = memoryview(b"")

    def __iter__(self) -> Iterator[memoryview]:
        return self

    def __next__(self) -> memoryview:
        """The next piece, in memory of its own."""
        if self._rest:
            rest, self._rest = self._rest, memoryview(b"")
            return memoryview(bytes(rest))
        return memoryview(bytes(next(self._source())))

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`; the number of bytes written, fewer than asked for only at the end."""
        filled, size = 0, len(buffer)
        while filled < size:
            if not self._rest:
                self._rest = next(self._source(), memoryview(b""))
                if not self._rest:
                    break
            taken = min(len(self._rest), size - filled)
            buffer[filled : filled + taken] = self._rest[:taken]
            self._rest = self._rest[taken:]
            filled += taken
        return filled

    def cancel(self) -> None:
        """Stop the transfer; a reader in another thread gets the end at once."""
        self._pieces.cancel()

    def _source(self) -> Iterator[memoryview]:
        if self._iterator is None:
            self._iterator = iter(self._pieces)
        return self._iterator
