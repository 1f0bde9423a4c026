"""Path filters compare by path components."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachmount.errors import UsageError
from pachmount.names import normalize_path
from pachmount.vfs.filters import PathFilter


@pytest.mark.parametrize(
    ("filters", "visible", "hidden"),
    [
        ([], ["", "/a", "/a/b"], []),
        (["/"], ["", "/a", "/a/b"], []),
        ([""], ["", "/a", "/a/b"], []),
        (["/a/b/c/d"], ["", "/a", "/a/b", "/a/b/c", "/a/b/c/d"], ["/a/x", "/a/b/c2", "/a/b/c/d2"]),
        (["dir"], ["", "/dir", "/dir/x"], ["/dir2", "/dir2/x"]),
        (["/file1"], ["", "/file1"], ["/file10", "/file", "/other"]),
        (["dir/sub"], ["", "/dir", "/dir/sub", "/dir/sub/x/y"], ["/dir/subway", "/dir/a", "/di"]),
        (["/dir/", "/dir/sub", "z"], ["/dir", "/dir/anything", "/z"], ["/zz", "/y"]),
    ],
)
def test_visible_by_components(filters: list[str], visible: list[str], hidden: list[str]) -> None:
    chosen = PathFilter(filters)
    assert [path for path in visible if not chosen.visible(path)] == []
    assert [path for path in hidden if chosen.visible(path)] == []


def test_paths_below_other_paths_are_dropped() -> None:
    assert PathFilter(["/a/b", "a", "/c"]).paths == ("/a", "/c")
    assert PathFilter(["/a", ""]).paths == ()
    assert PathFilter(["/a/b", "/a", "/a-b"]).paths == ("/a-b", "/a")


_paths = st.lists(st.text("ab/!", max_size=6), max_size=8)


@given(_paths, st.text("ab/!", max_size=8))
def test_it_agrees_with_a_look_at_every_path(paths: list[str], asked: str) -> None:
    try:
        path_filter, path = PathFilter(paths), normalize_path(asked)
    except UsageError:
        return

    def below(one: str, other: str) -> bool:
        return one == other or one.startswith(f"{other}/") or other == ""

    leads = any(root != path and below(root, path) for root in path_filter.paths)
    assert path_filter.leads_to(path) == leads
    assert path_filter.visible(path) == (
        path_filter.everything or leads or any(below(path, root) for root in path_filter.paths)
    )
