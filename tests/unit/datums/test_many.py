"""Inputs with very many datums: they are counted first, take little memory, and can be given up."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterable
from hashlib import blake2b
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pachmount.datums import keys
from pachmount.datums.forming import FormedDatums, Forming, datum_id, expand, form_datums
from pachmount.datums.keys import NotWantedError, SortedKeys
from pachmount.datums.model import Cross, Group, Input, Join, PfsInput, Union
from pachmount.datums.rows import Match
from pachmount.errors import TooManyDatumsError


def pfs(name: str, **more: object) -> PfsInput:
    return PfsInput(name, "default", "repo", "master", "/*", **more)  # type: ignore[arg-type]


def files(number: int) -> list[str]:
    return [f"/{index:03}" for index in range(number)]


def matcher(number: int, seen: list[str] | None = None):  # type: ignore[no-untyped-def]
    def match(source: PfsInput) -> Iterable[Match[str]]:
        if seen is not None:
            seen.append(source.name)
        return [Match(path, path) for path in files(number)]

    return match


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten keys in memory, the others in a file."""
    monkeypatch.setattr(keys, "IN_MEMORY", 10)
    monkeypatch.setattr(keys, "_FLUSH_KEYS", 3)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 5000])
def test_keys_in_memory_and_in_a_file_are_the_same(
    number: int, first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(number)
    found = [(blake2b(b"%d" % chance.randrange(number), digest_size=32).digest(), at) for at in range(number)]
    in_memory = SortedKeys(found, first=first)
    monkeypatch.setattr(keys, "IN_MEMORY", 10)
    monkeypatch.setattr(keys, "_FLUSH_KEYS", 3)
    in_file = SortedKeys(found, first=first, directory=tmp_path)
    wanted: dict[bytes, int] = {}
    for digest, at in found:
        wanted[digest] = wanted.get(digest, at) if first else at
    for made in (in_memory, in_file):
        assert [made.at(position) for position in range(len(made))] == sorted(wanted.items())
        assert sorted([*wanted.values(), *made.dropped]) == list(range(number))
        with pytest.raises(IndexError):
            made.at(len(made))
    assert list(tmp_path.iterdir()) == [], "the file has a name"


def test_the_datums_of_a_large_cross_are_all_there(small_memory: None, tmp_path: Path) -> None:
    found = form_datums(Cross((pfs("a"), pfs("b"), pfs("c"))), matcher(12), Forming(directory=tmp_path))
    expected = {
        datum_id(zip("abc", ["repo"] * 3, ["master"] * 3, paths, strict=True)): paths
        for paths in product(files(12), repeat=3)
    }
    assert [datum.id for datum in found] == sorted(expected)
    assert all(tuple(part.match.path for part in datum.parts) == expected[datum.id] for datum in found)
    assert all(found.find(datum.id) == position for position, datum in enumerate(found))
    assert found.find("0" * 64) is None
    assert found.find("no id") is None


SHAPES = st.recursive(
    st.just("pfs"),
    lambda inner: st.tuples(st.sampled_from([Cross, Union]), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=4,
)


def _built(shape: object, names: list[str]) -> Input:
    if isinstance(shape, str):
        return pfs(names.pop())
    kind, members = shape  # type: ignore[misc]
    return kind(tuple(_built(member, names) for member in members))  # type: ignore[no-any-return, has-type]


@given(SHAPES, st.lists(st.sampled_from("abc"), min_size=20, max_size=20))
@settings(max_examples=80, deadline=None)
def test_datums_in_order_and_by_id_are_the_same_ones(shape: object, names: list[str]) -> None:
    """Also when several are equal: of those the first place counts where they are in the order of the spec."""
    source = _built(shape, list(names))
    by_id: FormedDatums[str] = form_datums(source, matcher(3))
    in_order: FormedDatums[str] = expand(source, matcher(3))
    ids = [datum.id for datum in in_order]
    assert sorted(ids) == [datum.id for datum in by_id]
    assert [in_order.find(each) for each in ids] == list(range(len(ids)))
    with pytest.raises(IndexError):
        _ = in_order[len(ids)]


@pytest.mark.parametrize(
    ("source", "factors"),
    [
        (Cross(tuple(pfs(name) for name in "abcd")), "60 x 60 x 60 x 60 = 12,960,000"),
        (Cross(tuple(pfs(str(name)) for name in range(20))), "60 x 60 x 60 x 60 = 365,615,844"),
        (Join((pfs("a"), pfs("b"), pfs("c"), pfs("d"))), "12,960,000"),
        (Union((Cross((pfs("a"), pfs("b"), pfs("c"), pfs("d"))), pfs("e"))), "60 x 60 x 60 x 60 = 12,960,000"),
        (Group((Cross((pfs("a"), pfs("b"), pfs("c"), pfs("d"))),)), "60 x 60 x 60 x 60 = 12,960,000"),
    ],
)
@pytest.mark.parametrize("form", [form_datums, expand])
def test_too_many_are_refused_before_one_is_formed(source: Input, factors: str, form: type) -> None:
    if form is expand and isinstance(source, Join | Group):
        return
    with pytest.raises(TooManyDatumsError) as caught:
        form(source, matcher(60))
    assert "max_datums is 10,000,000" in caught.value.why
    if form is form_datums:
        assert factors in caught.value.why
    assert "pachmount config set max_datums" in caught.value.hint


def test_forming_ends_when_nobody_wants_it_any_more() -> None:
    asked = 0

    def wanted() -> bool:
        nonlocal asked
        asked += 1
        return asked < 5

    with pytest.raises(NotWantedError):
        form_datums(Cross((pfs("a"), pfs("b"), pfs("c"))), matcher(100), Forming(wanted=wanted))
    assert asked == 5


def test_an_empty_member_makes_an_empty_cross() -> None:
    def match(source: PfsInput) -> Iterable[Match[str]]:
        return [] if source.name == "b" else [Match(path, path) for path in files(100)]

    source = Cross((pfs("a"), pfs("b"), *(pfs(f"c{number}") for number in range(20))))
    assert len(form_datums(source, match)) == 0
    assert len(expand(source, match)) == 0


_SCRIPT = """
import re, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_many import matcher, pfs
from pachmount.datums.forming import Forming, form_datums
from pachmount.datums.model import Cross
number = int(sys.argv[1])
source, how = Cross(tuple(map(pfs, "abcd"))), Forming(1 << 40, directory=Path(sys.argv[2]))
found = form_datums(source, matcher(number), how)
assert len(found) == number ** 4
assert found[0].id < found[len(found) // 2].id < found[len(found) - 1].id
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.parametrize("number", [32, pytest.param(60, marks=pytest.mark.long)])
def test_millions_of_datums_take_little_memory(number: int, tmp_path: Path) -> None:
    """1 million, with `--long` 13 million; the size of the process, which Python and its modules are part of."""
    command = [sys.executable, "-c", _SCRIPT, str(number), str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=True)
    assert int(done.stdout) < 150 * 1024
