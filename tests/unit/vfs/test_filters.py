"""Path filters compare by path components."""

from __future__ import annotations

import pytest

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
