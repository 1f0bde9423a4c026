"""Patterns: what matches, what captures hold, what is no pattern."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachmount.datums.glob import BadPatternError, compile_glob


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("/", ["/"], ["/a"]),
        ("", ["/"], ["/a"]),
        ("/*", ["/a", "/.a"], ["/", "/a/b"]),
        ("*", ["/a"], ["/a/b"]),
        ("/**", ["/a", "/a/b/c"], ["/"]),
        ("/**/c", ["/a/c", "/a/b/c"], ["/c"]),
        ("/d**", ["/d", "/d/a", "/dx/y"], ["/e"]),
        ("/a/*/", ["/a/b"], ["/a", "/a/b/c"]),
        ("/x?", ["/x1"], ["/x", "/x/"]),
        ("/[a-c]", ["/a", "/b"], ["/d", "/-"]),
        ("/[!a]", ["/b"], ["/a"]),
        ("/[^a-c]", ["/d"], ["/b"]),
        ("/[a-]b", ["/ab", "/-b"], ["/bb"]),
        (r"/[\]]", ["/]"], ["/a"]),
        ("/{a,b{c,d}}.txt", ["/a.txt", "/bc.txt", "/bd.txt"], ["/b.txt"]),
        ("/{a", ["/a"], ["/{a"]),
        ("/@(a|b).txt", ["/a.txt", "/b.txt"], ["/c.txt", "/ab.txt"]),
        ("/(a|b)", ["/a", "/b"], ["/ab"]),
        ("/?(a)b", ["/b", "/ab"], ["/aab"]),
        ("/*(a|b)c", ["/c", "/abbac"], ["/dc"]),
        ("/+(a|b)c", ["/ac", "/bac"], ["/c"]),
        ("/!(a)", ["/b", "/ab", "/ba"], ["/a", "/b/c"]),
        ("/!(a)b", ["/b", "/bb", "/cab"], ["/ab", "/abc"]),
        ("/!(a|b*).txt", ["/c.txt", "/ab.txt"], ["/a.txt", "/bc.txt"]),
        ("/!(@(a|b))", ["/c", "/ab"], ["/a", "/b"]),
        ("/x!(1)/y", ["/x/y", "/x2/y"], ["/x1/y"]),
        (r"/[s]p\ ace", ["/sp ace"], [r"/sp\ ace"]),
        (r"/[b]ack\\slash", [r"/back\slash"], ["/backslash"]),
        (r"/back\slash", [], [r"/back\slash", "/backslash"]),
        ("/a|b", ["/a|b"], ["/a"]),
        ("/dir/../a*", ["/ab"], ["/dir/ab"]),
        ("/a(1).txt", ["/a1.txt"], ["/a(1).txt"]),
    ],
)
def test_matches(pattern: str, matching: list[str], others: list[str]) -> None:
    glob = compile_glob(pattern)
    assert [path for path in [*matching, *others] if glob.matches(path)] == matching


@pytest.mark.parametrize("pattern", ["/[", "/[a", "/[a-", "/[]", "/[!]", "/[z-a]", "/[]]"])
def test_bad_patterns(pattern: str) -> None:
    with pytest.raises(BadPatternError):
        compile_glob(pattern)


@pytest.mark.parametrize(
    ("pattern", "path", "template", "result"),
    [
        ("/(*).txt", "/7.txt", "$1", "7"),
        ("/(*)_(*).@(png|jpg)", "/cat_3.jpg", "$2-$1-$3", "3-cat-jpg"),
        ("/(*)/(*)", "/a/b", "${2}x", "bx"),
        ("/(*)", "/a", "$9", "$9"),
        ("/(*)", "/a", "", ""),
        ("/!(x)-(*)", "/y-1", "$1", "1"),
        ("/+(a|b)(*)", "/abc", "$1", "ab"),
        ("/?(a)b", "/b", "[$1]", "[]"),
        ("/*", "/a", "constant", "constant"),
    ],
)
def test_captures(pattern: str, path: str, template: str, result: str) -> None:
    assert compile_glob(pattern).replace(path, template) == result


@given(st.from_regex(re.compile(r"(/[ -~]{1,6}){1,3}"), fullmatch=True))
def test_any_text_is_read_or_refused(pattern: str) -> None:
    try:
        glob = compile_glob(pattern)
    except BadPatternError:
        return
    glob.matches("/a/b")


@given(st.from_regex(re.compile(r"(/[a-z0-9_. -]*[a-z]){1,3}"), fullmatch=True))
def test_a_pattern_without_signs_matches_itself(path: str) -> None:
    glob = compile_glob(path)
    assert glob.literal == path
    assert glob.matches(path)
