"""The datums of a combination of inputs, counted before one is formed; each is put together when it is asked for.

A row is what one datum has: its parts. Nothing here holds the rows of a cross or a join, only the files of its members.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, product
from math import prod
from typing import Generic, Protocol, TypeVar

from pachmount.datums.model import PfsInput

FileT = TypeVar("FileT")


@dataclass(frozen=True, slots=True)
class Match(Generic[FileT]):
    """A file that an input's glob matches; `path` is as PFS writes it (`/dir/`, `/` for the root).

    `join_on` and `group_by` are the input's, filled in with what the glob captured.
    """

    path: str
    file: FileT
    join_on: str = ""
    group_by: str = ""


@dataclass(frozen=True, slots=True)
class Part(Generic[FileT]):
    """A file of a datum, and the input that it is for.

    `encoded` is what it adds to the datum's id, after that of the parts with a smaller `rank`.
    """

    input: PfsInput
    match: Match[FileT]
    encoded: bytes
    rank: int = 0


Parts = tuple[Part[FileT], ...]


class Rows(Protocol[FileT]):
    """Rows by their numbers, which are those of the iteration. `factors` says how the number of rows comes about."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Parts[FileT]: ...
    def __iter__(self) -> Iterator[Parts[FileT]]: ...
    @property
    def factors(self) -> str: ...


class Listed(Generic[FileT]):
    """The rows of a list."""

    def __init__(self, rows: Sequence[Parts[FileT]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> Parts[FileT]:
        return self._rows[number]

    def __iter__(self) -> Iterator[Parts[FileT]]:
        return iter(self._rows)

    @property
    def factors(self) -> str:
        return f"{len(self):,}"


class Crossed(Generic[FileT]):
    """Every combination of a row of each member, in the order of `itertools.product`."""

    def __init__(self, members: Sequence[Rows[FileT]]) -> None:
        self._members = members
        self._sizes = [size_of(member) for member in members]
        self.size = prod(self._sizes)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> Parts[FileT]:
        chosen: list[Parts[FileT]] = []
        for member, size in zip(reversed(self._members), reversed(self._sizes), strict=True):
            number, position = divmod(number, size)
            chosen.append(member[position])
        return tuple(chain.from_iterable(reversed(chosen)))

    def __iter__(self) -> Iterator[Parts[FileT]]:
        for begin in self._members[0] if self.size else ():
            for rest in product(*self._members[1:]):
                yield tuple(chain(begin, *rest))

    @property
    def factors(self) -> str:
        return " x ".join(f"{size:,}" for size in self._sizes)


class Chained(Generic[FileT]):
    """The rows of one member after the other."""

    def __init__(self, members: Sequence[Rows[FileT]]) -> None:
        self._members = members
        self._sizes = [size_of(member) for member in members]
        self._ends = list(accumulate(self._sizes))
        self.size = sum(self._sizes)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> Parts[FileT]:
        which = bisect_right(self._ends, number)
        return self._members[which][number - (self._ends[which - 1] if which else 0)]

    def __iter__(self) -> Iterator[Parts[FileT]]:
        return chain.from_iterable(self._members)

    @property
    def factors(self) -> str:
        return " + ".join(f"{size:,}" for size in self._sizes)


class Chosen(Generic[FileT]):
    """Some rows of a member, by their numbers."""

    def __init__(self, member: Rows[FileT], numbers: array[int]) -> None:
        self._member = member
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> Parts[FileT]:
        return self._member[self._numbers[number]]

    def __iter__(self) -> Iterator[Parts[FileT]]:
        return map(self._member.__getitem__, self._numbers)

    @property
    def factors(self) -> str:
        return f"{len(self):,}"


class Grouped(Generic[FileT]):
    """One row for each group: the parts of all rows in it, one member's after the other's."""

    def __init__(self, groups: Sequence[Sequence[Chosen[FileT]]]) -> None:
        self._groups = groups

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, number: int) -> Parts[FileT]:
        return tuple(part for rows in self._groups[number] for parts in rows for part in parts)

    def __iter__(self) -> Iterator[Parts[FileT]]:
        return map(self.__getitem__, range(len(self)))

    @property
    def factors(self) -> str:
        return f"{len(self):,}"


def size_of(rows: Rows[FileT]) -> int:
    """The number of rows. (`len` of a large product does not fit into what Python allows.)"""
    size: int | None = getattr(rows, "size", None)
    return len(rows) if size is None else size
