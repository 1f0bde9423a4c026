"""Forming datums from an input and what its globs match. Knows neither a cluster nor a store.

A datum is a list of files, of each PFS input that takes part. Its id hashes names and paths, not content, and datums
are in the order of their ids. Only ids are held for each datum of a cross; its files are put together when asked for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain, islice, product
from typing import Generic, TypeVar, overload

from pachmount.datums.model import Cross, Input, Join, PfsInput, Union, leaves

FileT = TypeVar("FileT")

_DIGEST_BYTES = 32
_NUMBER_BYTES = 8


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
    """A file of a datum, and the input that it is for. `encoded` is what it adds to the datum's id."""

    input: PfsInput
    match: Match[FileT]
    encoded: bytes


Parts = tuple[Part[FileT], ...]
Matcher = Callable[[PfsInput], Iterable[Match[FileT]]]


@dataclass(frozen=True, slots=True)
class FormedDatum(Generic[FileT]):
    """`id` is 64 hex digits."""

    id: str
    parts: Parts[FileT]


class FormedDatums(Sequence[FormedDatum[FileT]]):
    """Datums in the order of their ids, each id once.

    `found` has the digest and the parts' number of each; `parts_of` gives the parts with a number.
    """

    def __init__(self, found: Iterable[tuple[bytes, int]], parts_of: Callable[[int], Parts[FileT]]) -> None:
        keys = sorted(digest + number.to_bytes(_NUMBER_BYTES, "big") for digest, number in found)
        # Of datums with equal ids the last one counts.
        following = chain(islice(keys, 1, None), [b""])
        self._keys = [
            key for key, after in zip(keys, following, strict=False) if not after.startswith(key[:_DIGEST_BYTES])
        ]
        self._parts_of = parts_of

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, at: int) -> FormedDatum[FileT]: ...
    @overload
    def __getitem__(self, at: slice) -> list[FormedDatum[FileT]]: ...
    def __getitem__(self, at: int | slice) -> FormedDatum[FileT] | list[FormedDatum[FileT]]:
        if isinstance(at, slice):
            return [self[position] for position in range(*at.indices(len(self)))]
        return FormedDatum(self.id_at(at), self.parts_at(at))

    def id_at(self, position: int) -> str:
        """The id of the datum at a position."""
        return self._keys[position][:_DIGEST_BYTES].hex()

    def parts_at(self, position: int) -> Parts[FileT]:
        """The parts of the datum at a position."""
        return self._parts_of(int.from_bytes(self._keys[position][_DIGEST_BYTES:], "big"))

    def position(self, datum_id: str, *, after: bool = False) -> int:
        """The position of the first datum whose id is not less than `datum_id` (or with `after`, is greater)."""
        search = bisect_right if after else bisect_left
        return search(range(len(self)), datum_id, key=self.id_at)


def datum_id(keys: Iterable[tuple[str, str, str, str]]) -> str:
    """64 hex digits that name a datum by its files: input name, repo, branch and path (as PFS writes it) of each."""
    return blake2b(b"".join(map(_encoded, keys)), digest_size=_DIGEST_BYTES).hexdigest()


def _encoded(key: tuple[str, ...]) -> bytes:
    datas = [text.encode() for text in key]
    return b"".join(data + len(data).to_bytes(8, "big") for data in datas)


def form_datums(source: Input, match: Matcher[FileT]) -> FormedDatums[FileT]:
    """The datums of an input. `match` gives the files that a PFS input's glob matches."""
    return _formed(sort_input(source), match)


def expand(source: Input, match: Matcher[FileT]) -> Iterator[FormedDatum[FileT]]:
    """The datums of an input of crosses and unions alone, in the order in which they are written down."""
    rank = {id(leaf): number for number, leaf in enumerate(leaves(sort_input(source)))}
    for parts in _expanded(source, match):
        ordered = tuple(sorted(parts, key=lambda part: rank[id(part.input)]))
        yield FormedDatum(blake2b(_bytes_of(ordered), digest_size=_DIGEST_BYTES).hexdigest(), parts)


def is_expandable(source: Input) -> bool:
    """Whether an input is of crosses and unions alone."""
    if isinstance(source, PfsInput):
        return True
    return isinstance(source, Cross | Union) and all(map(is_expandable, source.inputs))


def _expanded(source: Input, match: Matcher[FileT]) -> Iterator[Parts[FileT]]:
    if isinstance(source, PfsInput):
        key = source.directory, source.repo, source.branch
        for found in match(source):
            yield (Part(source, found, _encoded((*key, found.path))),)
    elif isinstance(source, Cross):
        members = [list(_expanded(member, match)) for member in source.inputs]
        yield from (sum(combination, ()) for combination in product(*members))
    else:
        for member in source.inputs:
            yield from _expanded(member, match)


def sort_input(source: Input) -> Input:
    """The input with the members of every combination in the order of their given names."""
    if isinstance(source, PfsInput):
        return source
    return replace(source, inputs=tuple(sorted(map(sort_input, source.inputs), key=_name)))


def _name(source: Input) -> str:
    while not isinstance(source, PfsInput):
        source = source.inputs[0]
    return source.name


def _formed(source: Input, match: Matcher[FileT]) -> FormedDatums[FileT]:
    if isinstance(source, PfsInput):
        return _listed(
            (Part(source, found, _encoded((source.directory, source.repo, source.branch, found.path))),)
            for found in match(source)
        )
    members = [_formed(member, match) for member in source.inputs]
    if isinstance(source, Cross):
        return _crossed(members)
    if isinstance(source, Union):
        return _listed(parts for member in members for parts in _all_parts(member))
    return _listed(_joined(members) if isinstance(source, Join) else _grouped(members))


def _all_parts(datums: FormedDatums[FileT]) -> Iterator[Parts[FileT]]:
    return map(datums.parts_at, range(len(datums)))


def _listed(rows: Iterable[Parts[FileT]]) -> FormedDatums[FileT]:
    held = list(rows)
    digests = (blake2b(_bytes_of(parts), digest_size=_DIGEST_BYTES).digest() for parts in held)
    return FormedDatums(((digest, number) for number, digest in enumerate(digests)), held.__getitem__)


def _bytes_of(parts: Parts[FileT]) -> bytes:
    return parts[0].encoded if len(parts) == 1 else b"".join(part.encoded for part in parts)


def _crossed(members: Sequence[FormedDatums[FileT]]) -> FormedDatums[FileT]:
    """Combinations are numbered as `itertools.product` gives them."""
    sizes = [len(member) for member in members]

    def parts_of(number: int) -> Parts[FileT]:
        chosen: list[Parts[FileT]] = []
        for member, size in zip(reversed(members), reversed(sizes), strict=True):
            number, position = divmod(number, size)
            chosen.append(member.parts_at(position))
        return sum(reversed(chosen), ())

    return FormedDatums(((digest, number) for number, digest in enumerate(_cross_digests(members))), parts_of)


def _cross_digests(members: Sequence[FormedDatums[FileT]]) -> Iterator[bytes]:
    encoded = [[_bytes_of(parts) for parts in _all_parts(member)] for member in members]
    for begin in product(*encoded[:-1]):
        hashed = blake2b(b"".join(begin), digest_size=_DIGEST_BYTES)
        for end in encoded[-1]:
            whole = hashed.copy()
            whole.update(end)
            yield whole.digest()


def _joined(members: Sequence[FormedDatums[FileT]]) -> Iterator[Parts[FileT]]:
    keyed: dict[str, list[list[Parts[FileT]]]] = {}
    for number, member in enumerate(members):
        for parts in _all_parts(member):
            key = "".join(part.match.join_on for part in parts)
            keyed.setdefault(key, [[] for _ in members])[number].append(parts)
    for row in keyed.values():
        kept = row if all(row) else [rows for rows in row if rows and rows[0][0].input.outer_join]
        if kept:
            yield from (sum(combination, ()) for combination in product(*kept))


def _grouped(members: Sequence[FormedDatums[FileT]]) -> Iterator[Parts[FileT]]:
    groups: dict[str, list[Part[FileT]]] = {}
    for member in members:
        for parts in _all_parts(member):
            key = "".join(part.match.group_by for part in parts)
            groups.setdefault(key, []).extend(parts)
    return map(tuple, groups.values())
