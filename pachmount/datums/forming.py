"""Forming datums from an input and what its globs match. Knows neither a cluster nor a store.

A datum is a list of files, of each PFS input that takes part. Its id hashes names and paths, not content, and datums
are in the order of their ids. They are counted before they are formed; then only the id and a number of each is kept,
in a file if they are many (keys.py), and its files are put together when asked for (rows.py).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import product
from operator import attrgetter
from pathlib import Path
from typing import Generic, TypeVar, overload

from pachmount.datums.keys import DIGEST_BYTES, SortedKeys
from pachmount.datums.model import Combination, Cross, Input, Join, PfsInput, Union, leaves
from pachmount.datums.rows import Chained, Chosen, Crossed, Grouped, Listed, Match, Part, Parts, Rows, size_of
from pachmount.errors import TooManyDatumsError

FileT = TypeVar("FileT")

_rank = attrgetter("rank")

MAX_DATUMS = 10_000_000
"""The default of the setting `max_datums`."""

Matcher = Callable[[PfsInput], Iterable[Match[FileT]]]


@dataclass(frozen=True)
class Forming:
    """How datums are formed: at most `limit` of them, as long as they are `wanted`; `directory` is for a large file."""

    limit: int = MAX_DATUMS
    wanted: Callable[[], bool] = lambda: True
    directory: Path | None = None


@dataclass(frozen=True, slots=True)
class FormedDatum(Generic[FileT]):
    """`id` is 64 hex digits."""

    id: str
    parts: Parts[FileT]


class FormedDatums(Sequence[FormedDatum[FileT]]):
    """The datums that rows are, each id once: in the order of their ids or, with `in_order`, of the rows.

    Of rows with equal ids the last one counts, with `in_order` the first one. `digests` are those of the rows.
    """

    def __init__(
        self,
        rows: Rows[FileT],
        digests: Iterable[bytes],
        how: Forming = Forming(),
        *,
        in_order: bool = False,
    ) -> None:
        found = ((digest, number) for number, digest in enumerate(digests))
        self._keys = SortedKeys(found, directory=how.directory, wanted=how.wanted, first=in_order)
        self._rows = rows
        self._in_order = in_order

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, at: int) -> FormedDatum[FileT]: ...
    @overload
    def __getitem__(self, at: slice) -> list[FormedDatum[FileT]]: ...
    def __getitem__(self, at: int | slice) -> FormedDatum[FileT] | list[FormedDatum[FileT]]:
        if isinstance(at, slice):
            return [self[position] for position in range(*at.indices(len(self)))]
        if self._in_order:
            parts = self._rows[self._number(at)]
            return FormedDatum(_digest_of(parts).hex(), parts)
        digest, number = self._keys.at(at)
        return FormedDatum(digest.hex(), self._rows[number])

    def parts_at(self, position: int) -> Parts[FileT]:
        """The parts of the datum at a position."""
        return self[position].parts

    def position(self, datum_id: str, *, after: bool = False) -> int:
        """The position of the first datum whose id is not less than `datum_id` (or with `after`, is greater).

        Only for datums in the order of their ids.
        """
        return self._keys.position(datum_id, after=after)

    def find(self, datum_id: str) -> int | None:
        """The position of the datum with this id, None if there is none."""
        position = self._keys.position(datum_id)
        if position == len(self):
            return None
        digest, number = self._keys.at(position)
        if digest.hex() != datum_id:
            return None
        return number - bisect_left(self._keys.dropped, number) if self._in_order else position

    def _number(self, position: int) -> int:
        """The number of the row at a position: rows whose ids occurred before are left out."""
        if not 0 <= position < len(self):
            raise IndexError(position)
        dropped = self._keys.dropped
        passed = bisect_left(range(len(dropped)), position + 1, key=lambda at: dropped[at] - at)
        return position + passed


def datum_id(keys: Iterable[tuple[str, str, str, str]]) -> str:
    """64 hex digits that name a datum by its files: input name, repo, branch and path (as PFS writes it) of each."""
    return blake2b(b"".join(map(_encoded, keys)), digest_size=DIGEST_BYTES).hexdigest()


def _encoded(key: tuple[str, ...]) -> bytes:
    datas = [text.encode() for text in key]
    return b"".join(data + len(data).to_bytes(8, "big") for data in datas)


def form_datums(source: Input, match: Matcher[FileT], how: Forming = Forming()) -> FormedDatums[FileT]:
    """The datums of an input, in the order of their ids. `match` gives the files that a PFS input's glob matches.

    Raises TooManyDatumsError, before one is formed, NotWantedError, and OSError if the file for them cannot be written.
    """
    return _formed(sort_input(source), match, how)


def expand(source: Input, match: Matcher[FileT], how: Forming = Forming()) -> FormedDatums[FileT]:
    """The datums of an input of crosses and unions alone, in the order in which they are written down.

    Of datums that are equal the first one counts. Raises what `form_datums` raises.
    """
    ranks = {id(leaf): rank for rank, leaf in enumerate(leaves(sort_input(source)))}
    rows = _rows_in_order(source, match, ranks)
    _require_few(rows, how)
    return FormedDatums(rows, map(_digest_of, rows), how, in_order=True)


def count(source: Input, match: Matcher[FileT], how: Forming) -> int:
    """How many datums an input has, or a few more: equal ones are counted more than once. None of them is formed.

    Raises TooManyDatumsError.
    """
    return size_of(_rows_unformed(source, match, how))


def _rows_unformed(source: Input, match: Matcher[FileT], how: Forming) -> Rows[FileT]:
    if isinstance(source, PfsInput):
        rows = _matched(source, match)
    else:
        rows = _combined(source, [_rows_unformed(member, match, how) for member in source.inputs])
    _require_few(rows, how)
    return rows


def is_expandable(source: Input) -> bool:
    """Whether an input is of crosses and unions alone."""
    if isinstance(source, PfsInput):
        return True
    return isinstance(source, Cross | Union) and all(map(is_expandable, source.inputs))


def _rows_in_order(source: Input, match: Matcher[FileT], ranks: dict[int, int]) -> Rows[FileT]:
    if isinstance(source, PfsInput):
        return _matched(source, match, ranks[id(source)])
    return _combined(source, [_rows_in_order(member, match, ranks) for member in source.inputs])


def sort_input(source: Input) -> Input:
    """The input with the members of every combination in the order of their given names."""
    if isinstance(source, PfsInput):
        return source
    return replace(source, inputs=tuple(sorted(map(sort_input, source.inputs), key=_name)))


def _name(source: Input) -> str:
    while not isinstance(source, PfsInput):
        source = source.inputs[0]
    return source.name


def _formed(source: Input, match: Matcher[FileT], how: Forming) -> FormedDatums[FileT]:
    if isinstance(source, PfsInput):
        return _with_digests(_matched(source, match), how)
    members: list[Rows[FileT]] = [_RowsOfDatums(_formed(member, match, how)) for member in source.inputs]
    rows = _combined(source, members)
    return _with_digests(rows, how, _cross_digests(members) if isinstance(source, Cross) else None)


def _combined(source: Combination, members: Sequence[Rows[FileT]]) -> Rows[FileT]:
    """The rows that a combination makes of those of its members."""
    if isinstance(source, Cross):
        return Crossed(members)
    if isinstance(source, Union):
        return Chained(members)
    return _joined(members) if isinstance(source, Join) else _grouped(members)


def _matched(source: PfsInput, match: Matcher[FileT], rank: int = 0) -> Rows[FileT]:
    key = source.directory, source.repo, source.branch
    return Listed([(Part(source, found, _encoded((*key, found.path)), rank),) for found in match(source)])


class _RowsOfDatums(Generic[FileT]):
    """The parts of datums as rows."""

    def __init__(self, datums: FormedDatums[FileT]) -> None:
        self._datums = datums

    def __len__(self) -> int:
        return len(self._datums)

    def __getitem__(self, number: int) -> Parts[FileT]:
        return self._datums.parts_at(number)

    def __iter__(self) -> Iterator[Parts[FileT]]:
        return map(self._datums.parts_at, range(len(self)))

    @property
    def factors(self) -> str:
        return f"{len(self):,}"


def _with_digests(rows: Rows[FileT], how: Forming, digests: Iterable[bytes] | None = None) -> FormedDatums[FileT]:
    _require_few(rows, how)
    return FormedDatums(rows, map(_digest_of, rows) if digests is None else digests, how)


def _require_few(rows: Rows[FileT], how: Forming) -> None:
    number = size_of(rows)
    if number > how.limit:
        raise too_many(f"{number:,}", how.limit, f"{rows.factors} = " if rows.factors != f"{number:,}" else "")


def too_many(number: str, limit: int, factors: str = "") -> TooManyDatumsError:
    """The error for an input that has more datums than `limit`; `number` says how many."""
    return TooManyDatumsError(
        f"the input has {number} datums",
        f"{factors}{number}, and max_datums is {limit:,}",
        "use narrower globs, a join or a group; or: pachmount config set max_datums NUMBER",
    )


def _digest_of(parts: Parts[FileT]) -> bytes:
    return blake2b(_bytes_of(parts), digest_size=DIGEST_BYTES).digest()


def _bytes_of(parts: Parts[FileT]) -> bytes:
    if len(parts) == 1:
        return parts[0].encoded
    return b"".join(part.encoded for part in sorted(parts, key=_rank))


def _cross_digests(members: Sequence[Rows[FileT]]) -> Iterator[bytes]:
    if not all(map(len, members)):
        return
    inner = [[_bytes_of(parts) for parts in member] for member in members[1:]]
    if not inner:
        yield from (_digest_of(parts) for parts in members[0])
        return
    for first in members[0]:
        for middle in product(*inner[:-1]):
            hashed = blake2b(b"".join((_bytes_of(first), *middle)), digest_size=DIGEST_BYTES)
            for end in inner[-1]:
                whole = hashed.copy()
                whole.update(end)
                yield whole.digest()


def _joined(members: Sequence[Rows[FileT]]) -> Rows[FileT]:
    keyed: dict[str, list[array[int]]] = {}
    for which, member in enumerate(members):
        for number, parts in enumerate(member):
            key = "".join(part.match.join_on for part in parts)
            keyed.setdefault(key, [array("Q") for _ in members])[which].append(number)
    combined: list[Rows[FileT]] = []
    for numbers in keyed.values():
        row = [Chosen(member, chosen) for member, chosen in zip(members, numbers, strict=True)]
        if not all(map(len, row)):
            row = [rows for rows in row if len(rows) and rows[0][0].input.outer_join]
        if row:
            combined.append(Crossed(row))
    return Chained(combined)


def _grouped(members: Sequence[Rows[FileT]]) -> Rows[FileT]:
    groups: dict[str, list[array[int]]] = {}
    for which, member in enumerate(members):
        for number, parts in enumerate(member):
            key = "".join(part.match.group_by for part in parts)
            groups.setdefault(key, [array("Q") for _ in members])[which].append(number)
    return Grouped(
        [
            [Chosen(member, chosen) for member, chosen in zip(members, numbers, strict=True)]
            for numbers in groups.values()
        ]
    )
