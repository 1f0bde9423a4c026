"""Staged changes as a patch in git's format, which `git apply` and `patch -p1` take."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator

from pachmount.errors import UsageError
from pachmount.overlay.bytes import Bytes
from pachmount.overlay.difference import Change, Difference
from pachmount.overlay.inodes import BaseReader
from pachmount.overlay.snapshot import StagedFile

MAX_PATCH = 16 << 20
"""Characters of all of it."""
MAX_TEXT = 1 << 20
"""Files that are larger than this are told of as binary ones."""
MAX_LINES = 20_000
"""Files with more lines than this are replaced whole: looking for what stayed would take minutes."""
CONTEXT = 3
_NO_NEWLINE = "\n\\ No newline at end of file\n"
_NEW, _DELETED = "new file mode 100644\n", "deleted file mode 100644\n"


def patch(found: Difference, base: BaseReader, staged: Bytes) -> str:
    """The changes as text; raises UsageError if that is too large."""

    def before(change: Change) -> bytes:
        return bytes(base.read(change.old_path or change.path, 0, MAX_TEXT + 1))

    def after(change: Change) -> bytes:
        if isinstance(change.content, StagedFile):
            return staged.head(change.content, MAX_TEXT + 1)
        return b"" if change.content is None else bytes(base.read(change.content.path, 0, MAX_TEXT + 1))

    texts = []
    left = MAX_PATCH
    for change in found.changes:
        texts.append(file_patch(change, before, after))
        left -= len(texts[-1])
        if left < 0:
            raise UsageError("the patch is too large", f"it has more than {MAX_PATCH >> 20} MiB", "name some paths")
    return "".join(texts)


def file_patch(change: Change, before: Callable[[Change], bytes], after: Callable[[Change], bytes]) -> str:
    """The patch of one file, of which both sides give the first `MAX_TEXT` + 1 bytes at most."""
    old_name, new_name = _name("a", change.old_path or change.path), _name("b", change.path)
    head = f"diff --git {old_name} {new_name}\n"
    if change.kind == "R":  # the content is the same
        return (
            head
            + f"similarity index 100%\nrename from {_name('', change.old_path)}\nrename to {_name('', change.path)}\n"
        )
    if change.kind == "A":
        head += _NEW
        old_name = "/dev/null"
    elif change.kind == "D":
        head += _DELETED
        new_name = "/dev/null"
    old = "" if change.kind == "A" else _text(before(change))
    new = "" if change.kind == "D" else _text(after(change))
    if old is None or new is None:
        return f"{head}Binary files {old_name} and {new_name} differ\n"
    body = "".join(_hunks(_lines(old), _lines(new)))
    return head + (f"--- {old_name}\n+++ {new_name}\n{body}" if body else "")


def _hunks(old: list[str], new: list[str]) -> Iterator[str]:
    if max(len(old), len(new)) > MAX_LINES:
        yield f"@@ -{_range(old)} +{_range(new)} @@\n"
        lines = [f"-{line}" for line in old] + [f"+{line}" for line in new]
    else:
        lines = list(difflib.unified_diff(old, new, n=CONTEXT))[2:]
    yield from (line if line.endswith("\n") else line + _NO_NEWLINE for line in lines)


def _range(lines: list[str]) -> str:
    return f"{1 if lines else 0},{len(lines)}"


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _text(content: bytes) -> str | None:
    """None if it is not text."""
    if len(content) > MAX_TEXT or b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _name(side: str, path: bytes) -> str:
    """A path as git reads it: in quotes where it could be misread."""
    name = f"{side}{os.fsdecode(path)}" if side else os.fsdecode(path[1:])
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' if re.search(r'["\\ ]', name) else name
