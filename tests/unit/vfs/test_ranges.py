"""Planned ranges hold what is wanted and little else, as a server reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachmount.vfs.ranges import HEADER_BYTES, MIN_FILES, UNWANTED_SHARE, Item, PathRange, plan
from tests.fakes import entries_of

letters = st.sampled_from("abcd")
trees = st.dictionaries(
    st.lists(letters, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)),
    st.tuples(st.integers(1, 9000), st.booleans()),
    max_size=25,
)


def items_of(tree: dict[str, tuple[int, bool]]) -> list[Item]:
    """The listing of files with sizes and whether they are wanted."""
    files = {path: bytes(size) for path, (size, _) in tree.items() if not any(p.startswith(f"{path}/") for p in tree)}
    return [
        Item(e.path.encode(), 0 if e.is_dir else e.size, not e.is_dir and tree[e.path][1]) for e in entries_of(files)
    ]


def archived(listing: list[Item], within: PathRange) -> list[Item]:
    """The files that a server puts into the archive: matches, and all below matching directories."""
    found, whole = [], b"\0"
    for item in listing:
        is_dir = item.size == 0
        key = item.path + b"/" * is_dir
        matches = item.path.startswith(within.directory + b"/") and within.lower <= key < within.upper
        if is_dir and matches and not key.startswith(whole):
            whole = key
        elif not is_dir and (matches or key.startswith(whole)):
            found.append(item)
    return found


@given(trees, st.data())
def test_each_wanted_file_comes_once_with_little_else(tree: dict[str, tuple[int, bool]], data: st.DataObject) -> None:
    listing = items_of(tree)
    start = data.draw(st.integers(0, len(listing)))
    stop = data.draw(st.integers(start, len(listing)))
    following = listing[stop].path if stop < len(listing) else None
    come: list[bytes] = []
    for within in plan(listing[start:stop], following):
        files = archived(listing, within)
        assert [item.path for item in files if item.path in within.wanted] == list(within.wanted)
        assert len(within.wanted) >= MIN_FILES
        assert all(within.lower <= item.path < within.upper for item in files), "no directory comes that goes on"
        come += within.wanted
    wanted = [item.path for item in listing[start:stop] if item.wanted]
    assert come == [path for path in wanted if path in come]


@given(st.lists(st.tuples(st.integers(1, 20_000), st.booleans()), max_size=80))
def test_not_more_than_a_quarter_is_unwanted(files: list[tuple[int, bool]]) -> None:
    listing = [Item(b"/%04d" % n, size, wanted=wanted) for n, (size, wanted) in enumerate(files)]
    for within in plan(listing, None):
        found = archived(listing, within)
        total = sum(item.size + HEADER_BYTES for item in found)
        useless = sum(item.size + HEADER_BYTES for item in found if not item.wanted)
        assert useless * UNWANTED_SHARE <= total


def test_a_large_file_splits_a_range() -> None:
    names = [b"/a", b"/b", b"/c", b"/large", b"/m", b"/n", b"/o"]
    listing = [Item(name, 10**9 if name == b"/large" else 4096, wanted=name != b"/large") for name in names]
    assert [within.wanted for within in plan(listing, None)] == [(b"/a", b"/b", b"/c"), (b"/m", b"/n", b"/o")]


def test_a_directory_that_goes_on_behind_the_range_is_asked_for_in_its_own() -> None:
    listing = [Item(b"/a/%d" % n, 10, wanted=True) for n in range(5)]
    listing += [Item(b"/b", 0)] + [Item(b"/b/%d" % n, 10, wanted=True) for n in range(5)]
    ranges = list(plan(listing, b"/b/5"))
    assert [(within.directory, within.lower, within.upper) for within in ranges] == [
        (b"/a", b"/a/0", b"/b/"),
        (b"/b", b"/b/0", b"/b/4 "),
    ]
    (whole,) = plan(listing, b"/c")
    assert (whole.directory, whole.lower, whole.upper) == (b"", b"/a/0", b"/b/4 ")


@pytest.mark.parametrize("roots", [(b"/d1", b"/d2"), (b"/d1", b"/d2/0", b"/d2/1", b"/d2/2", b"/d2/3")])
def test_what_lies_between_two_roots_is_not_asked_for(roots: tuple[bytes, ...]) -> None:
    listing = [Item(b"/d%d/%d" % (d, n), 10, wanted=True) for d in (1, 2) for n in range(4)]
    assert all(within.directory in (b"/d1", b"/d2") for within in plan(listing, None, roots))
    assert len(list(plan(listing, None, roots))) == (2 if len(roots) == 2 else 1)


def test_files_out_of_order_are_not_put_into_one_range() -> None:
    names = [b"/c", b"/d", b"/e", b"/a", b"/b", b"/bb"]
    listing = [Item(name, 10, wanted=True) for name in names]
    assert [within.wanted for within in plan(listing, None)] == [tuple(names[:3]), tuple(names[3:])]
