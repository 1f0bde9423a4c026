"""Which new files stay local because of a pattern: `.pachignore` in the syntax of `.gitignore`, after the defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from pathspec import GitIgnoreSpec

from pachmount.errors import ConfigurationError
from pachmount.own_files import is_own

FILE_NAME = b".pachignore"
_DIRECTORY = "ps_d"
"""pathspec's name of the slash behind a directory that a pattern matched."""
MAX_BYTES = 1 << 20
"""A file of patterns that is larger is taken for a mistake."""
DEFAULTS = (
    "*~",
    ".*.sw?",
    ".#*",
    r"\#*#",
    ".ipynb_checkpoints/",
    ".DS_Store",
    ".nfs*",
    ".fuse_hidden*",
    "__pycache__/",
)
"""What editors, systems and interpreters leave behind.

vim's probe `4913` is not among them: it goes at once, and a file of that number would stay behind unnoticed.
"""


def patterns(content: bytes, where: str) -> list[str]:
    """The patterns of a file; `where` names it in errors. Raises ConfigurationError."""
    if len(content) > MAX_BYTES:
        raise _unusable(where, f"it has more than {MAX_BYTES >> 20} MiB")
    if b"\0" in content:
        raise _unusable(where, "it has zero bytes, which no pattern has: the file was damaged")
    lines = os.fsdecode(content.removeprefix(b"\xef\xbb\xbf")).splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError as error:
            raise _unusable(where, f"line {number}: {line[:60]!a} is no pattern") from error
    return lines


class Ignoring:
    """Tells whether a path is ignored, as in git: if a directory above it is, or else by the last pattern that matches.

    Files of this program are always ignored, whatever a pattern says.

    pathspec's own answer is another where `!/d` takes back a directory: it takes back all that is below `d` with it.
    """

    def __init__(self, *files: Sequence[str]) -> None:
        """The patterns of some files; those of a later one prevail."""
        found = GitIgnoreSpec.from_lines([line for lines in files for line in lines]).patterns
        self._directories: dict[bytes, bool] = {b"": False}
        self._rules = [(rule.regex, rule.include) for rule in reversed(found) if rule.regex is not None]

    def __call__(self, path: bytes, is_directory: bool) -> bool:
        above = path.rpartition(b"/")[0]
        if above not in self._directories:
            self._directories[above] = self(above, is_directory=True)
        if self._directories[above] or is_own(os.fsdecode(path.rpartition(b"/")[2])):
            return True
        text = os.fsdecode(path[1:]) + ("/" if is_directory else "")
        return next((bool(include) for regex, include in self._rules if _is_about(regex.search(text), text)), False)


def _is_about(match: re.Match[str] | None, text: str) -> bool:
    """Whether a pattern matched a path, and not only a directory that it is in."""
    if match is None:
        return False
    if match.lastgroup == _DIRECTORY:
        return match.end() == len(text)
    return not (text.endswith("/") and match.end() == len(text))  # `d/**` is about what is in `d`


def _unusable(where: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"cannot use the patterns in {where}", why, "correct it or take it away; all stays staged"
    )
