"""The grammar of names: sources, mount names, paths that can be stored."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachmount import names
from pachmount.errors import InvalidNameError, InvalidPathError, InvalidSourceError
from pachmount.names import Source

ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("images", Source("default", "images")),
        ("images@dev", Source("default", "images", "dev")),
        ("photos/images", Source("photos", "images")),
        ("photos/images@dev:/a", Source("photos", "images", "dev", path="/a")),
        ("images:/a/b", Source("default", "images", path="/a/b")),
        ("images:a/b/", Source("default", "images", path="/a/b")),
        ("images:/", Source("default", "images")),
        (f"images@{ID}", Source("default", "images", commit=ID)),
        (f"images@dev={ID}", Source("default", "images", "dev", ID)),
        (f"images@={ID}", Source("default", "images", commit=ID)),
        (f"images@dev={ID}:/x", Source("default", "images", "dev", ID, "/x")),
        ("images@master^", Source("default", "images", commit="master^")),
        ("images@master^2~3", Source("default", "images", commit="master^2~3")),
        ("images@master.1", Source("default", "images", commit="master.1")),
        (f"images@{ID}^", Source("default", "images", commit=f"{ID}^")),
        (f"images@{ID[:31]}", Source("default", "images", ID[:31])),
        (f"images@{ID.upper()}", Source("default", "images", ID.upper())),
        ("a_b-c@x_y-z", Source("default", "a_b-c", "x_y-z")),
        ("images:/a:b@c", Source("default", "images", path="/a:b@c")),
    ],
)
def test_sources(text: str, source: Source) -> None:
    assert names.parse_source(text) == source


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the repo is empty"),
        ("@dev", "the repo is empty"),
        ("p/", "the repo is empty"),
        ("/images", "the project is empty"),
        ("images@", "nothing stands after '@'"),
        ("images:", "the path after ':' is empty"),
        ("images@dev=", "nothing stands after '='"),
        ("images@dev=abc", "'abc' is not a commit id"),
        ("im ages", "a repo name has only"),
        ("images@a b", "a branch name has only"),
        ("a/b/c", "a project name has only"),
        ("bild\u00e4r", "a repo name has only"),
        ("images\n", "a repo name has only"),
        ("images@a@b", "a branch name has only"),
        ("images+rw", "a repo name has only"),
    ],
)
def test_sources_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidSourceError) as caught:
        names.parse_source(text)
    assert why in str(caught.value)


def test_default_project_is_used_only_without_one() -> None:
    assert names.parse_source("r", "p").project == "p"
    assert names.parse_source("q/r", "p").project == "q"


@pytest.mark.parametrize("path", ["/a/../b", "..", "./a", "a\0b"])
def test_paths_refused(path: str) -> None:
    with pytest.raises(InvalidPathError):
        names.normalize_path(path)


_object = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True).filter(lambda name: not names.is_commit_id(name))
_path = st.lists(st.text("abc .-'\"@:+", min_size=1).filter(lambda part: part not in (".", "..")), max_size=4)
_commit = st.one_of(st.just(""), st.just(ID), st.just("master^2"))


@given(_object, _object, st.one_of(st.just(""), _object), _commit, _path)
def test_a_source_reads_back_what_it_prints(
    project: str, repo: str, branch: str, commit: str, parts: list[str]
) -> None:
    source = Source(project, repo, branch, commit, "".join(f"/{part}" for part in parts))
    again = names.parse_source(str(source))
    assert str(again) == str(source)
    if branch or commit:
        assert again == source


@given(st.text())
def test_any_text_is_a_source_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(InvalidSourceError, InvalidPathError):
        names.parse_source(text)


@pytest.mark.parametrize("name", ["images", "a", "_x", ".hidden", "a.b-c_d", "0", "a" * 255])
def test_mount_names(name: str) -> None:
    assert names.check_mount_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-a", "a/b", "a b", "out", "a" * 256, "\u00e4", "a\n", "a\0", "../x", "/abs"]
)
def test_mount_names_refused(name: str) -> None:
    with pytest.raises(InvalidNameError):
        names.check_mount_name(name)


@given(st.text())
def test_a_mount_name_stays_below_the_mount_directory(name: str) -> None:
    try:
        names.check_mount_name(name)
    except InvalidNameError:
        return
    assert "/" not in name
    assert "\0" not in name
    assert name not in ("", ".", "..")


@pytest.mark.parametrize("path", ["/a", "/a b/c'd\"", "/~/#%&=|;:,<>", "/.x", "/..."])
def test_storable(path: str) -> None:
    assert names.unstorable_reason(path) == ""


@pytest.mark.parametrize(
    "path", ["/a*", "/a?", "/[a]", "/{a}", "/a!b", "/a@b", "/a+b", "/a^", "/(a)", "/\u00e4", "/a\n"]
)
def test_unstorable(path: str) -> None:
    assert names.unstorable_reason(path) != ""
    assert "\n" not in names.unstorable_reason(path)


@pytest.mark.parametrize("path", ["/a/../b", "./a", ".."])
def test_dots_cannot_be_stored(path: str) -> None:
    assert "not allowed" in names.unstorable_reason(path)


@pytest.mark.parametrize(
    ("text", "branch", "commit"),
    [
        ("r@master=819430c1", "master", "819430c1"),
        ("r@819430c1", "819430c1", ""),  # could be a branch too: only the cluster knows
        ("r@819430c1f43743af94cf31d6f15d11fa", "", "819430c1f43743af94cf31d6f15d11fa"),
    ],
)
def test_the_beginning_of_a_commit_id_is_accepted(text: str, branch: str, commit: str) -> None:
    source = names.parse_source(text)
    assert (source.branch, source.commit) == (branch, commit)


@pytest.mark.parametrize(
    ("commit", "branch"), [("master^2", "master"), ("dev.1", "dev"), (f"{ID}^", ""), (ID, ""), ("819430c1", "")]
)
def test_the_branch_that_an_ancestry_starts_from(commit: str, branch: str) -> None:
    assert names.ancestry_branch(commit) == branch
