"""The patch of staged changes, as `patch -p1` and `git apply` understand it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pachmount.overlay import patch as patching
from pachmount.overlay.difference import Change

CASES: dict[str, tuple[bytes | None, bytes | None]] = {
    "modified": (b"1\n2\n3\n4\n5\n6\n7\n8\n9\n", b"1\n2\n3\n4\nfive\n6\n7\n8\n9\nten\n"),
    "added": (None, b"a\nb\n"),
    "added empty": (None, b""),
    "deleted": (b"a\nb\n", None),
    "deleted empty": (b"", None),
    "emptied": (b"a\n", b""),
    "filled": (b"", b"a\n"),
    "no newline at the end": (b"a\nb", b"a\nc"),
    "newline added": (b"a", b"a\n"),
    "newline gone": (b"a\n", b"a"),
    "carriage returns": (b"a\r\nb\rc\n", b"a\r\nb\rd\n"),
    "form feeds and separators": ("a\x0cb\u2028c\n".encode(), "a\x0cb\u2028d\n".encode()),
    "many lines": (b"".join(b"%d\n" % n for n in range(30_000)), b"".join(b"%d\n" % (n * 2) for n in range(30_000))),
}


def patch_of(path: bytes, before: bytes | None, after: bytes | None) -> str:
    kind = "A" if before is None else "D" if after is None else "M"
    change = Change(kind, path)  # type: ignore[arg-type]
    return patching.file_patch(change, lambda _change: before or b"", lambda _change: after or b"")


def apply(program: list[str], tree: Path, path: str, before: bytes | None, text: str) -> bytes | None:
    file = tree / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if before is not None:
        file.write_bytes(before)
    done = subprocess.run(program, cwd=tree, input=os.fsencode(text), capture_output=True, check=False)
    assert done.returncode == 0, (done, text)
    return file.read_bytes() if file.exists() else None


@pytest.mark.parametrize("path", ["file", "d/with space", 'd/"quoted"\\'])
@pytest.mark.parametrize(
    ("name", "program"),
    [
        (name, program)
        for name in CASES
        for program in (["git", "apply", "-"], ["patch", "-p1", "--binary", "-s"])
        if (name, program[0]) != ("deleted empty", "patch")  # it deletes only what it emptied
    ],
    ids=lambda given: given if isinstance(given, str) else given[0],
)
def test_it_can_be_applied(name: str, path: str, program: list[str], tmp_path: Path) -> None:
    before, after = CASES[name]
    text = patch_of(f"/{path}".encode(), before, after)
    assert apply(program, tmp_path, path, before, text) == after


texts = st.lists(st.sampled_from(["a", "b", "c", "", "-x", "+x", "@@", "\\ No newline"]), max_size=12).map("\n".join)


@settings(max_examples=30, deadline=None)
@given(before=texts, after=texts)
def test_any_text(before: str, after: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    if before != after:
        text = patch_of(b"/f", before.encode(), after.encode())
        done = apply(["git", "apply", "-"], tmp_path_factory.mktemp("tree"), "f", before.encode(), text)
        assert done == after.encode()


@pytest.mark.parametrize("program", [["patch", "-p1", "-s"], ["git", "apply", "-"]], ids=["patch", "git"])
def test_a_rename(program: list[str], tmp_path: Path) -> None:
    content = b"as it was\n"
    change = Change("R", b"/d/new name", old_path=b"/old")
    text = patching.file_patch(change, lambda _change: content, lambda _change: content)
    assert apply(program, tmp_path, "old", content, text) is None
    assert (tmp_path / "d/new name").read_bytes() == content


@pytest.mark.parametrize("content", [b"\0", b"\xff", b"x" * (patching.MAX_TEXT + 1)], ids=["zeros", "bytes", "large"])
def test_what_is_no_text_is_only_named(content: bytes) -> None:
    assert patch_of(b"/f", b"a\n", content) == "diff --git a/f b/f\nBinary files a/f and b/f differ\n"
