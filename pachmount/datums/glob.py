"""Glob patterns of PFS: which paths match, and what their capture groups hold.

`*` and `?` stay within one path element, `**` does not; `[a-z]` and `[!a]` are classes, `{a,b}` alternatives, and
`(a|b)`, `@( )`, `?( )`, `*( )`, `+( )` groups that capture, `!( )` anything but. A backslash escapes. A group or brace
that is not closed ends with the pattern. A pattern without any of these characters is a path.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

GLOB_CHARACTERS = "*?[]{}!()@+^"

_SLASHES = re.compile("/+")
_GROUP_SIGNS = "@?*+!"
_REFERENCE = re.compile(r"\$(?:(\d+)|\{(\d+)\})")


class BadPatternError(ValueError):
    """The text cannot be read as a pattern."""


@dataclass(frozen=True)
class Glob:
    """A pattern, ready to match.

    `prefix` is the text that every match starts with. `literal` is the path that a pattern without glob characters
    stands for, and None for any other pattern.
    """

    prefix: str
    literal: str | None
    regex: re.Pattern[str]

    def matches(self, path: str) -> bool:
        """Whether a path matches; that of a directory is given without its trailing slash (the root is `/`)."""
        if self.literal is not None:
            return path == self.literal and "\\" not in path
        return path != "/" and path.startswith(self.prefix) and self.regex.fullmatch(path) is not None

    def replace(self, path: str, template: str) -> str:
        """`template` with `$1`, `${1}` and so on replaced by what the groups captured in a matching path."""
        if self.literal is not None:
            return template
        found = self.regex.fullmatch(path)
        if found is None:
            return path

        def captured(reference: re.Match[str]) -> str:
            number = int(reference[1] or reference[2])
            return (found[number] or "") if number <= self.regex.groups else reference[0]

        return _REFERENCE.sub(captured, template)


def clean_path(path: str) -> str:
    """The path in the form in which PFS looks it up: one leading slash, none at the end, no `.` and `..`."""
    cleaned = posixpath.normpath(_SLASHES.sub("/", path))
    if cleaned == ".":
        return "/"
    return cleaned if cleaned.startswith("/") else "/" + cleaned


def compile_glob(pattern: str) -> Glob:
    """Read a pattern. Raises BadPatternError."""
    path = clean_path(pattern)
    first = next((at for at, character in enumerate(path) if character in GLOB_CHARACTERS), None)
    if first is None:
        return Glob(path, path, re.compile(re.escape(path)))
    text, _ = _Parser(path).sequence(0, capture=True, inside="")
    try:
        regex = re.compile(text, re.DOTALL)
    except re.error as error:
        raise BadPatternError(f"error parsing the pattern {pattern!r}: {error}") from error
    return Glob(path[:first], None, regex)


class _Parser:
    """Turns a pattern into the text of a regular expression."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def sequence(self, at: int, *, capture: bool, inside: str) -> tuple[str, int]:
        """The part from `at` on up to what ends it: `inside` is "{" or "(" for the inner of such, "" at the top.

        The text, and the place of the character that ended it.
        """
        ends = {"": "", "{": ",}", "(": "|)"}[inside]
        made: list[str] = []
        while at < len(self._pattern):
            character = self._pattern[at]
            if character in ends:
                break
            behind = self._pattern[at + 1 : at + 2]
            if inside != "{" and (character == "(" or (character in _GROUP_SIGNS and behind == "(")):
                sign, start = ("", at + 1) if character == "(" else (character, at + 2)
                if sign == "!":
                    return self._negated(start, "".join(made), capture=capture, inside=inside)
                text, at = self._group(start, sign, capture=capture)
            elif character == "*":
                stars = len(self._pattern[at:]) - len(self._pattern[at:].lstrip("*"))
                if stars > 1 and inside != "{" and self._pattern[at + stars : at + stars + 1] == "(":
                    stars -= 1  # the last one belongs to the group
                text, at = (".*" if stars > 1 else "[^/]*"), at + stars
            elif character == "?":
                text, at = "[^/]", at + 1
            elif character == "[":
                text, at = self._class(at + 1)
            elif character == "{":
                text, at = self._alternatives(at + 1, "{", capture=capture)
                text = f"(?:{text})"
            elif character == "\\" and behind:
                text, at = re.escape(behind), at + 2
            else:
                text, at = re.escape(character), at + 1
            made.append(text)
        return "".join(made), at

    def _alternatives(self, at: int, inside: str, *, capture: bool) -> tuple[str, int]:
        options = []
        while True:
            text, at = self.sequence(at, capture=capture, inside=inside)
            options.append(text)
            if at >= len(self._pattern):
                return "|".join(options), at
            at += 1
            if self._pattern[at - 1] in "})":
                return "|".join(options), at

    def _group(self, at: int, sign: str, *, capture: bool) -> tuple[str, int]:
        text, at = self._alternatives(at, "(", capture=capture)
        repeated = f"(?:{text}){'' if sign in ('', '@') else sign}"
        return (f"({repeated})" if capture else repeated), at

    def _negated(self, at: int, before: str, *, capture: bool, inside: str) -> tuple[str, int]:
        # What must not be there is the group followed by all the rest, since "!(a)b" may well match "ab" + "b".
        excluded, at = self._alternatives(at, "(", capture=False)
        uncaptured, _ = self.sequence(at, capture=False, inside=inside)
        rest, at = self.sequence(at, capture=capture, inside=inside)
        end = "" if inside else r"\Z"
        return f"{before}(?!(?:{excluded}){uncaptured}{end})[^/]*?{rest}", at

    def _class(self, at: int) -> tuple[str, int]:
        negated = self._pattern[at : at + 1] in ("!", "^")
        at += negated
        members: list[str] = []
        while at < len(self._pattern) and self._pattern[at] != "]":
            if self._pattern[at] == "\\":
                at += 1
            members.append(self._pattern[at : at + 1])
            at += 1
        if at >= len(self._pattern):
            raise BadPatternError("unexpected end of input")
        if not members:
            raise BadPatternError(f"an empty class of characters in {self._pattern!r}")
        return f"[{'^' if negated else ''}{_class_body(members, self._pattern)}]", at + 1


def _class_body(members: list[str], pattern: str) -> str:
    made = []
    at = 0
    while at < len(members):
        if at + 2 < len(members) and members[at + 1] == "-":
            low, high = members[at], members[at + 2]
            if low > high:
                raise BadPatternError(f"[x-y] range in reverse order in {pattern!r}")
            made.append(f"{re.escape(low)}-{re.escape(high)}")
            at += 3
        else:
            made.append(re.escape(members[at]))
            at += 1
    return "".join(made)
