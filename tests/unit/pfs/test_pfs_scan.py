"""Scanning a local directory: what is stored, what is in the way."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pachmount.errors import InvalidPathError, NotFoundError, UsageError
from pachmount.pfs.scan import scan_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "b" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "b" / "deep" / "x.txt").write_text("12345")
    (root / "b.txt").write_text("1")
    (root / "a").write_text("")
    return root


def test_files_in_order(tree: Path) -> None:
    scan = scan_tree(tree, "/to")
    assert [(file.stored, file.size) for file in scan.files] == [
        ("/to/a", 0),
        ("/to/b/deep/x.txt", 5),
        ("/to/b.txt", 1),
    ]
    assert (scan.total_bytes, scan.empty_directories, scan.skipped) == (6, 1, [])
    assert Path(scan.files[1].local).read_text() == "12345"


@pytest.mark.parametrize(
    ("exclude", "stored"),
    [
        (["*.txt"], ["/a"]),
        (["b"], ["/a", "/b.txt"]),
        (["b/deep"], ["/a", "/b.txt"]),
        (["b/*/x.txt", "a"], ["/b.txt"]),
    ],
)
def test_exclude(tree: Path, exclude: list[str], stored: list[str]) -> None:
    assert [file.stored for file in scan_tree(tree, "", exclude).files] == stored


def test_links_count_as_what_they_point_to(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "y").write_text("yy")
    (tree / "link").symlink_to(tmp_path / "elsewhere")
    (tree / "again").symlink_to(tree / "b")
    (tree / "file").symlink_to(tree / "b.txt")
    stored = {file.stored: file.size for file in scan_tree(tree, "").files}
    assert (stored["/link/y"], stored["/again/deep/x.txt"], stored["/file"]) == (2, 5, 1)


def test_everything_in_the_way_is_named_before_anything_is_sent(tree: Path) -> None:
    (tree / "b" / "loop").symlink_to(tree)
    (tree / "dangling").symlink_to(tree / "none")
    (tree / "round").symlink_to(tree / "round")
    (tree / "c+d").write_text("")
    (tree / "é").write_text("")
    os.mkfifo(tree / "pipe")
    (tree / os.fsdecode(b"raw\xff")).write_text("")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "sock"))
        with pytest.raises(InvalidPathError, match="8 files cannot be stored") as caught:
            scan_tree(tree, "")
        scan = scan_tree(tree, "", skip_invalid=True)
    assert "b/loop: a link that leads back" in caught.value.why
    assert "and 3 more" in caught.value.why
    assert "--skip-invalid" in caught.value.hint
    reasons = {item.path: item.reason for item in scan.skipped}
    assert "does not exist" in reasons["dangling"]
    assert "symbolic links" in reasons["round"]
    assert "glob character" in reasons["c+d"]
    assert "ASCII" in reasons["é"]
    assert reasons["pipe"] == "a pipe, not a file"
    assert reasons["sock"] == "a socket, not a file"
    assert [file.stored for file in scan.files] == ["/a", "/b/deep/x.txt", "/b.txt"]
    assert str(caught.value).isprintable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_unreadable(tree: Path) -> None:
    (tree / "a").chmod(0)
    (tree / "b" / "deep").chmod(0)
    try:
        assert {item.path for item in scan_tree(tree, "", skip_invalid=True).skipped} == {"a", "b/deep"}
    finally:
        (tree / "b" / "deep").chmod(0o700)


def test_not_a_directory(tree: Path) -> None:
    with pytest.raises(NotFoundError):
        scan_tree(tree / "none", "")
    with pytest.raises(UsageError):
        scan_tree(tree / "a", "")
