"""Many keys in order, with little memory: digests of datums, each with a number, sorted in a file without a name."""

from __future__ import annotations

import os
import tempfile
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

DIGEST_BYTES = 32
_NUMBER_BYTES = 8
_KEY_BYTES = DIGEST_BYTES + _NUMBER_BYTES
IN_MEMORY = 200_000
"""How many keys are held in memory; more of them go into a file, 40 bytes each."""
_BUCKETS = 256
_FLUSH_KEYS = 2_000
_LOOK_EVERY = 10_000


class NotWantedError(Exception):
    """Nobody wants the datums any more that are being formed."""


class SortedKeys:
    """Pairs of digest and number in the order of the digests, each digest once. Reading is thread-safe.

    Of pairs with equal digests the one with the largest number is kept, or with `first` the one with the smallest;
    `dropped` has the numbers of the others, in order. `wanted` is asked now and then while the pairs come:
    NotWantedError when it says no. `directory` is for the file without a name; OSError if it cannot be written.
    """

    def __init__(
        self,
        found: Iterable[tuple[bytes, int]],
        *,
        directory: Path | None = None,
        wanted: Callable[[], bool] = lambda: True,
        first: bool = False,
    ) -> None:
        self.dropped = array("Q")
        self._first = first
        self._held: list[bytes] = []
        self._file = -1
        self._length = 0
        keys = _watched((digest + number.to_bytes(_NUMBER_BYTES, "big") for digest, number in found), wanted)
        self._held = list(islice(keys, IN_MEMORY))
        if len(self._held) < IN_MEMORY:
            self._held = list(self._once(sorted(self._held)))
            self._length = len(self._held)
        else:
            begun, self._held = self._held, []
            self._sort_in_file(chain(begun, keys), directory)
        self.dropped = array("Q", sorted(self.dropped))

    def __len__(self) -> int:
        return self._length

    def at(self, position: int) -> tuple[bytes, int]:
        """The digest and the number at a position. IndexError if there is none."""
        key = self._key(position)
        return key[:DIGEST_BYTES], int.from_bytes(key[DIGEST_BYTES:], "big")

    def position(self, text: str, *, after: bool = False) -> int:
        """The position of the first digest that is, in hex, not less than `text` (or with `after`, is greater)."""
        search = bisect_right if after else bisect_left
        return search(range(self._length), text, key=lambda position: self.at(position)[0].hex())

    def _key(self, position: int) -> bytes:
        if not 0 <= position < self._length:
            raise IndexError(position)
        if self._file < 0:
            return self._held[position]
        return os.pread(self._file, _KEY_BYTES, position * _KEY_BYTES)

    def _sort_in_file(self, keys: Iterable[bytes], directory: Path | None) -> None:
        """Spread the keys over buckets by their first byte, then sort one bucket after the other."""
        scattered = _nameless(directory)
        try:
            parts = _scatter(keys, scattered)
            self._file = _nameless(directory)
            for places in parts:
                data = b"".join(_read(scattered, at, size) for at, size in places)
                bucket = sorted(data[at : at + _KEY_BYTES] for at in range(0, len(data), _KEY_BYTES))
                kept = b"".join(self._once(bucket))
                _write(self._file, kept, self._length * _KEY_BYTES)
                self._length += len(kept) // _KEY_BYTES
        finally:
            os.close(scattered)

    def _once(self, keys: Sequence[bytes]) -> Iterator[bytes]:
        """Of keys with equal digests, which follow each other, the one to keep."""
        neighbours = chain([b""], keys) if self._first else chain(keys[1:], [b""])
        for key, neighbour in zip(keys, neighbours, strict=False):
            if neighbour[:DIGEST_BYTES] == key[:DIGEST_BYTES]:
                self.dropped.append(int.from_bytes(key[DIGEST_BYTES:], "big"))
            else:
                yield key

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)


def _watched(keys: Iterable[bytes], wanted: Callable[[], bool]) -> Iterator[bytes]:
    """The keys, as long as they are wanted."""
    iterator = iter(keys)
    while some := list(islice(iterator, _LOOK_EVERY)):
        if not wanted():
            raise NotWantedError
        yield from some


def _scatter(keys: Iterable[bytes], file: int) -> list[list[tuple[int, int]]]:
    """Write the keys to a file, those of a bucket together in parts; offset and length of each part by bucket."""
    buckets: list[list[bytes]] = [[] for _ in range(_BUCKETS)]
    places: list[list[tuple[int, int]]] = [[] for _ in range(_BUCKETS)]
    end = 0
    for key in keys:
        bucket = buckets[key[0]]
        bucket.append(key)
        if len(bucket) == _FLUSH_KEYS:
            end += _put(file, bucket, places[key[0]], end)
    for bucket, parts in zip(buckets, places, strict=True):
        end += _put(file, bucket, parts, end)
    return places


def _put(file: int, bucket: list[bytes], places: list[tuple[int, int]], at: int) -> int:
    data = b"".join(bucket)
    _write(file, data, at)
    places.append((at, len(data)))
    bucket.clear()
    return len(data)


def _nameless(directory: Path | None) -> int:
    """A descriptor of a new file that has no name and vanishes when it is closed."""
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryFile(dir=directory, prefix="datums-") as file:
        return os.dup(file.fileno())


def _write(file: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written


def _read(file: int, at: int, size: int) -> bytes:
    data = os.pread(file, size, at)
    while len(data) < size:
        data += os.pread(file, size - len(data), at + len(data))
    return data
