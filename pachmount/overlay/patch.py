"""Staged changes as a patch in git's format, which `git apply` and `patch -p1` take."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator

from pachmount.overlay.difference import Change

MAX_TEXT = 1 << 20
"""Files that are larger than this are told of as binary ones."""
MAX_LINES = 20_000
"""Files with more lines than this are replaced whole: looking for what stayed would take minutes."""
CONTEXT = 3
_NO_NEWLINE = "\n\\ No newline at end of file\n"
_NEW, _DELETED = "new file mode 100644\n", "deleted file mode 100644\n"

Read = Callable[[Change], bytes]
"""Gives the first bytes of a file, `MAX_TEXT` + 1 at most: as the commit has it, or as it is staged."""


def patch(change: Change, before: Read, after: Read) -> str:
    """The patch of one file."""
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
