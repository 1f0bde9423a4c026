"""Datums: forming them from an input and what its globs match. Knows neither gRPC nor the store.

A datum is a list of files, one for each PFS input that takes part. Its id hashes names and paths, not content, and
datums are listed in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import product
from typing import Generic, TypeVar

FileT = TypeVar("FileT")


@dataclass(frozen=True)
class PfsInput:
    """One repo's part of an input. `label` is the name as given, which orders the inputs; `name` is never empty."""

    label: str
    project: str
    repo: str
    repo_type: str
    branch: str
    glob: str
    join_on: str = ""
    outer_join: bool = False
    group_by: str = ""

    @property
    def name(self) -> str:
        return self.label or self.repo


@dataclass(frozen=True)
class Combined:
    """Inputs put together; `kind` is cross, union, join or group."""

    kind: str
    inputs: tuple[Input, ...]


Input = PfsInput | Combined


@dataclass(frozen=True)
class Match(Generic[FileT]):
    """A file that an input's glob matches. `join_key` and `group_key` are `join_on` and `group_by` filled in."""

    path: str
    file: FileT
    join_key: str = ""
    group_key: str = ""


@dataclass(frozen=True)
class Part(Generic[FileT]):
    """A file of a datum, and the input that it is for."""

    input: PfsInput
    match: Match[FileT]


@dataclass(frozen=True)
class Datum(Generic[FileT]):
    parts: tuple[Part[FileT], ...]
    id: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", datum_id(self.parts))


Matcher = Callable[[PfsInput], Iterable[Match[FileT]]]


def datum_id(parts: Iterable[Part[FileT]]) -> str:
    """64 hex digits that name a datum by the names, repos, branches and paths of its files."""
    hashed = blake2b(digest_size=32)
    for part in parts:
        for text in (part.input.name, part.input.repo, part.input.branch, part.match.path):
            data = text.encode()
            hashed.update(data)
            hashed.update(len(data).to_bytes(8, "big"))
    return hashed.hexdigest()


def form_datums(source: Input, match: Matcher[FileT]) -> list[Datum[FileT]]:
    """The datums of an input, in the order of their ids. `match` gives the files that a PFS input's glob matches."""
    return _formed(sort_input(source), match)


def sort_input(source: Input) -> Input:
    """The input with the members of every combination in the order of their given names."""
    if isinstance(source, PfsInput):
        return source
    return Combined(source.kind, tuple(sorted(map(sort_input, source.inputs), key=_label)))


def _label(source: Input) -> str:
    while isinstance(source, Combined):
        source = source.inputs[0]
    return source.label


def _formed(source: Input, match: Matcher[FileT]) -> list[Datum[FileT]]:
    if isinstance(source, PfsInput):
        return _ordered(Datum((Part(source, found),)) for found in match(source))
    members = [_formed(member, match) for member in source.inputs]
    if source.kind == "cross":
        return _ordered(_crossed(members))
    if source.kind == "union":
        return _ordered(datum for member in members for datum in member)
    if source.kind == "join":
        return _ordered(_joined(members))
    if source.kind == "group":
        return _ordered(_grouped(members))
    raise ValueError(f"unknown kind of input: {source.kind}")


def _ordered(datums: Iterable[Datum[FileT]]) -> list[Datum[FileT]]:
    """In the order of ids, each id once."""
    by_id = {datum.id: datum for datum in datums}
    return [by_id[key] for key in sorted(by_id)]


def _crossed(members: list[list[Datum[FileT]]]) -> Iterable[Datum[FileT]]:
    for combination in product(*members):
        yield Datum(tuple(part for datum in combination for part in datum.parts))


def _joined(members: list[list[Datum[FileT]]]) -> Iterable[Datum[FileT]]:
    keyed: dict[str, list[list[Datum[FileT]]]] = {}
    for number, member in enumerate(members):
        for datum in member:
            key = "".join(part.match.join_key for part in datum.parts)
            keyed.setdefault(key, [[] for _ in members])[number].append(datum)
    for row in keyed.values():
        if all(row):
            yield from _crossed(row)
            continue
        kept = [datums for datums in row if datums and datums[0].parts[0].input.outer_join]
        if kept:
            yield from _crossed(kept)


def _grouped(members: list[list[Datum[FileT]]]) -> Iterable[Datum[FileT]]:
    groups: dict[str, list[Part[FileT]]] = {}
    for member in members:
        for datum in member:
            key = "".join(part.match.group_key for part in datum.parts)
            groups.setdefault(key, []).extend(datum.parts)
    for parts in groups.values():
        yield Datum(tuple(parts))
