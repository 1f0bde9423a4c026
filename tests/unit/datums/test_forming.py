"""Forming datums out of matches, without a server. (Ids and orders are checked against recordings elsewhere.)"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pachmount.datums.forming import form_datums, sort_input
from pachmount.datums.glob import compile_glob
from pachmount.datums.model import Cross, Group, Input, Join, PfsInput, Union
from pachmount.datums.rows import Match

_FILES = {"A": ["/1.txt", "/2.txt"], "B": ["/1.txt", "/3.txt"], "C": ["/k-1-a", "/k-2-a", "/k-2-b"]}


def _pfs(repo: str, glob: str = "/*", name: str = "", **more: object) -> PfsInput:
    return PfsInput(name, "default", repo, "master", glob, **more)  # type: ignore[arg-type]


def _match(source: PfsInput) -> Iterable[Match[str]]:
    glob = compile_glob(source.glob)
    for path in _FILES[source.repo]:
        if glob.matches(path):
            yield Match(path, path, glob.replace(path, source.join_on), glob.replace(path, source.group_by))


def _paths(source: Input) -> list[list[str]]:
    return sorted(
        [part.input.directory + part.match.path for part in datum.parts] for datum in form_datums(source, _match)
    )


def test_ids_name_files_and_not_globs() -> None:
    one = [datum.id for datum in form_datums(_pfs("A", "/*"), _match)]
    assert one == [datum.id for datum in form_datums(_pfs("A", "/?.txt"), _match)]
    assert one == sorted(one)
    assert one != [datum.id for datum in form_datums(_pfs("A", "/*", name="x"), _match)]


def test_cross() -> None:
    both = Cross((_pfs("A"), _pfs("B")))
    assert _paths(both) == [
        ["A/1.txt", "B/1.txt"],
        ["A/1.txt", "B/3.txt"],
        ["A/2.txt", "B/1.txt"],
        ["A/2.txt", "B/3.txt"],
    ]


def test_union_gives_each_datum_once() -> None:
    assert _paths(Union((_pfs("A"), _pfs("A")))) == [["A/1.txt"], ["A/2.txt"]]


@pytest.mark.parametrize(
    ("outer_a", "outer_b", "unmatched"),
    [
        (False, False, []),
        (True, False, [["A/2.txt"]]),
        (False, True, [["B/3.txt"]]),
        (True, True, [["A/2.txt"], ["B/3.txt"]]),
    ],
)
def test_join(outer_a: bool, outer_b: bool, unmatched: list[list[str]]) -> None:
    source = Join(
        (
            _pfs("A", "/(*).txt", join_on="$1", outer_join=outer_a),
            _pfs("B", "/(*).txt", join_on="$1", outer_join=outer_b),
        ),
    )
    assert _paths(source) == sorted([["A/1.txt", "B/1.txt"], *unmatched])


def test_group() -> None:
    source = Group((_pfs("C", "/k-(?)-(?)", group_by="$1"),))
    assert _paths(source) == [["C/k-1-a"], ["C/k-2-a", "C/k-2-b"]]


def test_group_over_a_join() -> None:
    joined = Join(
        (
            _pfs("A", "/(*).txt", join_on="$1", group_by="$1"),
            _pfs("B", "/(*).txt", join_on="$1", group_by="$1"),
        ),
    )
    assert _paths(Group((joined,))) == [["A/1.txt", "B/1.txt"]]


def test_members_are_ordered_by_the_names_given() -> None:
    source = Cross((_pfs("A", name="z"), Union((_pfs("B", name="y"), _pfs("C", name="a")))))
    ordered = sort_input(source)
    assert isinstance(ordered, Cross)
    assert isinstance(ordered.inputs[0], Union)
    assert [member.name for member in ordered.inputs[0].inputs if isinstance(member, PfsInput)] == ["a", "y"]
    unnamed = Cross((_pfs("B"), _pfs("A")))
    assert sort_input(unnamed) == unnamed
