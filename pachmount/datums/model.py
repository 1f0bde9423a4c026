"""Frozen dataclasses of datums: the inputs of a spec, and the files that a datum has of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

DEFAULT_REPO_TYPE = "user"


@dataclass(frozen=True, slots=True)
class PfsInput:
    """One repo's part of an input: what `glob` matches in the head of `branch`, or in `commit` (an id) if given.

    `name` is the directory of its files and may be empty in requests of the wire only; `trigger` (pairs) is kept for
    the echo and has no effect on datums.
    """

    name: str
    project: str
    repo: str
    branch: str
    glob: str
    commit: str = ""
    repo_type: str = DEFAULT_REPO_TYPE
    join_on: str = ""
    outer_join: bool = False
    group_by: str = ""
    lazy: bool = False
    empty_files: bool = False
    s3: bool = False
    trigger: tuple[tuple[str, object], ...] = ()

    @property
    def directory(self) -> str:
        """The name of the input's directory below `/pfs`: its name, or the repo's."""
        return self.name or self.repo


@dataclass(frozen=True, slots=True)
class Cross:
    """Every combination of a datum of each member."""

    inputs: tuple[Input, ...]


@dataclass(frozen=True, slots=True)
class Union:
    """The datums of all members."""

    inputs: tuple[Input, ...]


@dataclass(frozen=True, slots=True)
class Join:
    """The combinations of members' datums with equal `join_on`; members with `outer_join` also without partners."""

    inputs: tuple[Input, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """One datum for each value of `group_by`, of all the members' files that have it."""

    inputs: tuple[Input, ...]


Combination = Cross | Union | Join | Group
Input = PfsInput | Combination


@dataclass(frozen=True, slots=True)
class DatumFile:
    """A file or directory of a datum, pinned to its commit.

    `input` is the name of the input (a directory below `/pfs`), `path` starts with a slash and has none at the end ("/"
    is the whole repo), `hash` is hex. `join_on` and `group_by` are the input's, filled in with what the glob captured.
    """

    input: str
    project: str
    repo: str
    branch: str
    commit: str
    path: str
    is_dir: bool
    size_bytes: int
    hash: str
    join_on: str = ""
    group_by: str = ""

    def key(self) -> tuple[str, str, str, str]:
        """What this file contributes to the datum's id: names, and the path as PFS writes it (`/dir/`)."""
        path = f"{self.path}/" if self.is_dir and self.path != "/" else self.path
        return self.input, self.repo, self.branch, path


@dataclass(frozen=True, slots=True)
class Datum:
    """What a pipeline's code sees at once. `id` is 64 hex digits; a group may have many files of one input."""

    id: str
    files: tuple[DatumFile, ...]


def leaves(source: Input) -> Iterator[PfsInput]:
    """The PFS inputs of a tree, in its order."""
    if isinstance(source, PfsInput):
        yield source
        return
    for member in source.inputs:
        yield from leaves(member)
