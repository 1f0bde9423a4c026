"""Patterns of what stays local, beside what git says of the same patterns."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pachmount.errors import ConfigurationError
from pachmount.overlay.ignore import DEFAULTS, MAX_BYTES, Ignoring, patterns

FILES = ["a", "a~", "b.log", "keep.log", "d/a", "d/a~", "d/e/b.log", "d/e/keep.log", "build/x", "d/build/x", "build2"]
FILES += [".DS_Store", "d/.x.swp", "#a#", ".#a", "__pycache__/m.pyc", "d/__pycache__/m.pyc", "d/é", "d/a b", "#hash"]
PATTERNS = {
    "nothing": "",
    "comment": "# *\n\n",
    "names": "*.log\n",
    "taken back": "*.log\n!keep.log\n",
    "directories": "build/\n",
    "anchored": "/build\n",
    "inside": "d/e\n",
    "everywhere": "**/e/*.log\n",
    "all but": "/*\n!/d\n",
    "below an ignored directory": "d/\n!d/a\n",
    "escaped": "\\#hash\n\\!x\n",
    "classes": "[ab]\n",
    "blanks": "a\\ b\n*.log   \n",
    "windows": "*.log\r\nbuild/\r\n",
    "takes a default back": "!*~\n!__pycache__/\n",
}


@pytest.mark.parametrize("name", PATTERNS)
def test_as_git_does(name: str, tmp_path: Path) -> None:
    for path in FILES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    subprocess.run(["git", "init", "-q", tmp_path], check=True, capture_output=True)
    lines = PATTERNS[name].replace("\r", "")
    (tmp_path / ".git/info/exclude").write_text("\n".join(DEFAULTS) + "\n")
    (tmp_path / ".gitignore").write_text(lines)
    listed = subprocess.run(
        ["git", "-c", "core.quotePath=false", "ls-files", "--others", "--exclude-standard", "-z"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    ignored = Ignoring(DEFAULTS, patterns(PATTERNS[name].encode(), "test"))
    assert {path for path in FILES if not ignored(os.fsencode(f"/{path}"), False)} == set(listed) & set(FILES)


def test_what_editors_leave_is_ignored_by_default() -> None:
    ignored = Ignoring(DEFAULTS)
    for name in ("a~", ".a.swp", ".a.swx", ".#a", "#a#", ".DS_Store", ".nfs0001", ".fuse_hidden0001"):
        assert ignored(b"/d/" + name.encode(), False), name
    assert ignored(b"/d/__pycache__", True)
    assert ignored(b"/.ipynb_checkpoints", True)
    assert not ignored(b"/__pycache__", False)
    assert not ignored(b"/a.csv", False)


def test_a_pattern_that_is_none_is_told_of_with_its_line() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot use the patterns in /\.pachignore — line 2") as refused:
        patterns(b"*.log\n!\n", "/.pachignore")
    assert refused.value.hint


def test_a_huge_file_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="zero bytes"):
        patterns(b"\0\0o\n", "/.pachignore")
    with pytest.raises(ConfigurationError, match="more than 1 MiB"):
        patterns(b"x\n" * MAX_BYTES, "it")


def test_bytes_that_are_no_text_are_patterns_too() -> None:
    ignored = Ignoring(patterns(b"\xff*\n", "it"))
    assert ignored(b"/\xff\xfe", False)
    assert not ignored(b"/a", False)
