"""Globs over the paths of a commit: which directories to look into, so that not all of it is listed."""

from __future__ import annotations

from pachmount.datums.glob import GLOB_CHARACTERS, BadPatternError, Glob, clean_path, compile_glob
from pachmount.errors import UsageError

_SPANNING = "[(\\"
"""What may match a slash, or hide one."""


def is_glob(path: str) -> bool:
    """Whether a path has characters that make it a pattern; no file of a commit has them in its name."""
    return any(character in GLOB_CHARACTERS for character in path)


class Pattern:
    """A glob of Pachyderm's. `literal` is the path that a pattern without such characters is, else None.

    `top` is the directory below which all matches are.
    """

    def __init__(self, text: str) -> None:
        """Raises UsageError."""
        path = clean_path(text)
        self._glob = _compiled(path)
        self.literal = self._glob.literal
        self.top = self._glob.prefix.rpartition("/")[0] or "/"
        self._levels: list[Glob] | None = None
        parts = path[1:].split("/")
        if not any(sign in path for sign in (*_SPANNING, "**")) and all(_is_closed(part) for part in parts):
            self._levels = [_compiled("/" + "/".join(parts[: number + 1])) for number in range(len(parts))]

    def matches(self, path: str) -> bool:
        return self._glob.matches(path)

    def may_match_below(self, directory: str) -> bool:
        """Whether something below a directory may match."""
        if self._levels is None:
            return True
        depth = directory.count("/")
        return depth < len(self._levels) and self._levels[depth - 1].matches(directory)


def _is_closed(part: str) -> bool:
    return part.count("{") == part.count("}")


def _compiled(pattern: str) -> Glob:
    try:
        return compile_glob(pattern)
    except BadPatternError as error:
        raise UsageError(f"invalid pattern '{pattern}'", str(error)) from error
