"""Reading a tar archive out of a stream, member by member: ustar, PAX and GNU headers, as any server may write them.

tarfile needs four times as long (25 µs a member) and cannot be handed pieces that are not a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pachmount.errors import DataError

_BLOCK = 512
_MAX_EXTENSION = 1 << 20
"""Bytes of one PAX or GNU header that are believed; names are a few kilobytes at most."""
_ZEROS = bytes(_BLOCK)


def members(pieces: Iterable[memoryview], wants: Callable[[bytes, int], bool]) -> Iterator[tuple[bytes, bytes | None]]:
    """Name and content of each member, in order; None for the content of those that `wants(name, size)` refuses.

    Directories and the like are left out. Raises DataError for what is no archive, or not all of one.
    """
    source = _Source(pieces)
    path, size = b"", -1  # what an extended header says about the member after it
    while (header := source.read(_BLOCK)) != _ZEROS:
        _check(header)
        kind, length = header[156:157], _number(header[124:136])
        padding = -length % _BLOCK
        if kind in b"xLKg":
            if length > _MAX_EXTENSION:
                raise DataError("a tar archive cannot be read", f"a header of {length} bytes")
            data = source.read(length)
            source.skip(padding)
            if kind == b"x":
                path, size = _extended(data, path, size)
            elif kind == b"L":
                path = data.rstrip(b"\0")
            continue
        if size >= 0:
            length, padding = size, -size % _BLOCK
        name, path, size = path or _name(header), b"", -1
        if kind not in b"0\0" or name.endswith(b"/"):
            source.skip(length + padding)
        elif wants(name, length):
            data = source.read(length)
            source.skip(padding)
            yield name, data
        else:
            yield name, None
            source.skip(length + padding)


class _Source:
    """Bytes of a stream of pieces."""

    def __init__(self, pieces: Iterable[memoryview]) -> None:
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")
        self._at = 0

    def read(self, size: int) -> bytes:
        end = self._at + size
        if end <= len(self._piece):
            data = bytes(self._piece[self._at : end])
            self._at = end
            return data
        parts = bytearray()
        while len(parts) < size:
            if self._at == len(self._piece):
                self._next()
            part = self._piece[self._at : self._at + size - len(parts)]
            parts += part
            self._at += len(part)
        return bytes(parts)

    def skip(self, size: int) -> None:
        while size > (left := len(self._piece) - self._at):
            size -= left
            self._next()
        self._at += size

    def _next(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise DataError("a tar archive ended early")
        self._piece, self._at = piece, 0


def _check(header: bytes) -> None:
    """The checksum counts its own field as spaces."""
    if sum(header) - sum(header[148:156]) + 8 * 0x20 != _number(header[148:156]):
        raise DataError("a tar archive cannot be read", "a header has a wrong checksum")


def _number(field: bytes) -> int:
    """An octal number, or a binary one as GNU writes it."""
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
    try:
        return int(field.rstrip(b"\0 ") or b"0", 8)
    except ValueError:
        raise DataError("a tar archive cannot be read", f"{field!r} is not a number") from None


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and header[345]:
        return header[345:500].partition(b"\0")[0] + b"/" + name
    return name


def _extended(data: bytes, path: bytes, size: int) -> tuple[bytes, int]:
    """The path and size in a PAX header: records of the form `length key=value\\n`."""
    at = 0
    try:
        while at < len(data):
            digits = data[at : data.index(b" ", at)]
            end = at + int(digits)
            key, equals, value = data[at + len(digits) + 1 : end - 1].partition(b"=")
            if end <= at or end > len(data) or data[end - 1 : end] != b"\n" or not equals:
                raise ValueError
            if key == b"path":
                path = value
            elif key == b"size":
                size = int(value)
            at = end
    except ValueError:
        raise DataError("a tar archive cannot be read", "an extended header is damaged") from None
    return path, size
