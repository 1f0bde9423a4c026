"""Outputs: links in them, and merging them by a pipeline's rules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachmount.beneath import Beneath, Spot
from pachmount.errors import ConflictError, DataError, PachmountError, UsageError
from pachmount.running import merge
from pachmount.running.links import OutputError, follow_links


def make(directory: Path, files: dict[str, str]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(content)
    return directory


def out(directory: Path, files: dict[str, str]) -> Spot:
    """An output of a datum."""
    make(directory, files)
    return Beneath(directory.parent).at(directory.name)


def tree(directory: Path) -> dict[str, str]:
    return {str(p.relative_to(directory)): p.read_text() for p in directory.rglob("*") if p.is_file()}


# --- merging


def test_files_of_all_datums(tmp_path: Path) -> None:
    one = out(tmp_path / "1", {"a": "1", "d/x": "2"})
    two = out(tmp_path / "2", {"d/y": "3", "d/e/z": "4"})
    (tmp_path / "2" / "empty").mkdir()
    (tmp_path / "1" / "a").chmod(0o754)
    merged = merge.merge([("one", one), ("two", two)])
    assert merged.bytes == 4
    merge.put(merged, tmp_path / "out")
    with Beneath(tmp_path) as above, merge.linked(merged, above) as linked:
        assert tree(tmp_path / "out") == tree(linked) == {"a": "1", "d/x": "2", "d/y": "3", "d/e/z": "4"}
    assert not (tmp_path / "out" / "empty").exists()
    assert (tmp_path / "out" / "a").stat().st_mode & 0o777 == 0o754
    (tmp_path / "out" / "a").write_text("changed")
    assert (tmp_path / "1" / "a").read_text() == "1"
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "out"]


PATHS = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3).map("/".join)
TREES = st.lists(st.lists(PATHS, max_size=3), min_size=1, max_size=4)


@given(TREES)
def test_conflicts_are_those_of_one_tree(tmp_path_factory: pytest.TempPathFactory, trees: list[list[str]]) -> None:
    """A path twice, or a file that another datum has as a directory; each datum itself is a proper tree."""
    proper = [{path for path in paths if not any(other.startswith(f"{path}/") for other in paths)} for paths in trees]
    every = [path for paths in proper for path in paths]
    conflict = len(set(every)) < len(every) or any(b.startswith(f"{a}/") for a in every for b in every)
    root = tmp_path_factory.mktemp("merge")
    outputs = [(f"datum{n}", out(root / str(n), dict.fromkeys(paths, "x"))) for n, paths in enumerate(proper)]
    if conflict:
        with pytest.raises(ConflictError):
            merge.merge(outputs)
    else:
        merge.put(merge.merge(outputs), root / "out")
        assert set(tree(root / "out")) == set(every)


def test_both_datums_of_a_conflict_are_named(tmp_path: Path) -> None:
    one, two = out(tmp_path / "1", {"a": "", "b": ""}), out(tmp_path / "2", {"a": "", "b/c": ""})
    with pytest.raises(ConflictError) as caught:
        merge.merge([("one", one), ("two", two)])
    assert caught.value.why == "'a' from datums one and two; 'b' is a file in datum one, a directory in two"


def test_targets(tmp_path: Path) -> None:
    merge.check_target(tmp_path / "new", replace=False)
    full = make(tmp_path / "full", {"a": "old"})
    with pytest.raises(UsageError, match="not empty"):
        merge.check_target(full, replace=False)
    merge.check_target(full, replace=True)
    for wrong in (full / "a", tmp_path / "link"):
        wrong.is_file() or wrong.symlink_to(full)
        with pytest.raises(UsageError, match="no directory"):
            merge.check_target(wrong, replace=True)
    merge.put(merge.merge([("one", out(tmp_path / "1", {"b": "new"}))]), full)
    assert tree(full) == {"b": "new"}


def test_what_was_there_stays_when_the_files_cannot_be_copied(tmp_path: Path) -> None:
    full = make(tmp_path / "full", {"a": "old"})
    merged = merge.merge([("one", out(tmp_path / "1", {"b": "new"}))])
    (tmp_path / "1" / "b").unlink()
    with pytest.raises(PachmountError, match="cannot write to"):
        merge.put(merged, full)
    assert tree(full) == {"a": "old"}
    assert sorted(os.listdir(tmp_path)) == ["1", "full"]


def test_what_stands_beside_is_not_ours_to_remove(tmp_path: Path) -> None:
    mine = make(tmp_path / ".out.new", {"precious": "1"})
    merge.put(merge.merge([("one", out(tmp_path / "1", {"b": "new"}))]), tmp_path / "out")
    assert tree(mine) == {"precious": "1"}
    assert sorted(os.listdir(tmp_path)) == [".out.new", "1", "out"]


@pytest.mark.parametrize("kind", ["file", "directory", "pipe", "above"])
def test_a_link_that_somebody_put_into_an_output_is_not_followed(tmp_path: Path, kind: str) -> None:
    secret = make(tmp_path / "secret", {"x": "secret"})
    one = out(tmp_path / "1", {"a": "1"})
    link = tmp_path / "1" / "link"
    if kind == "file":
        link.symlink_to(secret / "x")
    elif kind == "directory":
        link.symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(link)
    else:
        (tmp_path / "1").rename(tmp_path / "real")
        (tmp_path / "1").symlink_to(tmp_path / "real")
    with pytest.raises(DataError, match="cannot be read") as caught:
        merge.merge([("one", one)])
    assert "--again" in caught.value.hint


def test_a_link_that_is_put_there_after_merging_is_not_followed(tmp_path: Path) -> None:
    make(tmp_path / "secret", {"x": "secret"})
    merged = merge.merge([("one", out(tmp_path / "1", {"d/x": "1"}))])
    (tmp_path / "1" / "d").rename(tmp_path / "kept")
    (tmp_path / "1" / "d").symlink_to(tmp_path / "secret")
    with pytest.raises(PachmountError, match="cannot write"):
        merge.put(merged, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- links


def test_links_become_copies(tmp_path: Path) -> None:
    outside = make(tmp_path / "in", {"a": "1", "d/x": "2", "d/e/y": "3"})
    (outside / "d" / "again").symlink_to("../a")
    out = make(tmp_path / "out", {"own": "4", "dir/z": "5"})
    (out / "file").symlink_to(outside / "a")
    (out / "tree").symlink_to(outside / "d")
    (out / "dir" / "back").symlink_to("../own")
    (out / "chain").symlink_to("file")
    (out / "sibling").symlink_to("dir")
    follow_links(out)
    expected = {"own": "4", "dir/z": "5", "file": "1", "dir/back": "4", "chain": "1", "sibling/z": "5"}
    expected |= {"sibling/back": "4", "tree/x": "2", "tree/e/y": "3", "tree/again": "1"}
    assert tree(out) == expected
    assert not any(path.is_symlink() for path in out.rglob("*"))


def test_links_that_cannot_be_followed(tmp_path: Path) -> None:
    loop = make(tmp_path / "loop", {"a": "1"})
    (loop / "self").symlink_to(loop)
    broken = make(tmp_path / "broken", {})
    (broken / "x").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe")
    for name, target, said in (
        ("gone", "/nowhere", "leads nowhere"),
        ("itself", "itself", "leads nowhere"),
        ("up", "..", "above it"),
        ("loop", loop, "a link to itself"),
        ("broken", broken, "leads nowhere"),
        ("pipe", tmp_path / "pipe", "leads to no file"),
    ):
        out = make(tmp_path / f"out-{name}", {})
        (out / name).symlink_to(target)
        with pytest.raises(OutputError, match=said):
            follow_links(out)
