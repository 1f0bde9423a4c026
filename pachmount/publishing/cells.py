"""Notebook cells as plain Python: IPython's %magics and !commands become the calls that IPython makes of them.

It knows what is at the beginning of a statement, and `name = %magic` or `name = !command`; where a cell still is no
Python afterwards, that is an error. nbconvert gives the same text.
"""

from __future__ import annotations

import ast
import re
import tokenize
import warnings
from collections.abc import Iterator

_ASSIGNED = re.compile(r"(?P<target>[^=!%#()]+=\s*)(?P<kind>[%!])(?P<rest>[^=].*)")
_HELP = re.compile(r"(?P<before>\?{0,2})(?P<name>[\w.*%]+)(?P<after>\?{0,2})")
_INCOMPLETE = re.compile("multi-line|triple-quoted")
"""How tokenize says that a statement goes on after the end of its text, up to Python 3.11 and since 3.12."""


def to_python(cell: str) -> str:
    """A cell as Python. Raises SyntaxError, with the line in the cell, where it is none."""
    if cell.lstrip().startswith("%%"):
        return _cell_magic(cell.lstrip())
    if not _is_python(cell):
        cell = "".join(_converted(statement) for statement in _statements(cell))
        _parse(cell)
    return cell


def uses_ipython(script: str) -> bool:
    """Whether a script that was made of a notebook calls IPython."""
    return "get_ipython()" in script


def _parse(code: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # strange escapes, say: they are the author's business
        try:
            ast.parse(code)
        except ValueError as error:  # a null byte, up to Python 3.11
            raise SyntaxError(str(error)) from error


def _is_python(code: str) -> bool:
    try:
        _parse(code)
    except SyntaxError:
        return False
    return True


def _statements(cell: str) -> Iterator[str]:
    """Pieces of whole lines, none of which ends within brackets, a string or a continued line."""
    lines = cell.splitlines(keepends=True)
    start = 0
    while start < len(lines):
        end = start + _length(lines[start:])
        yield "".join(lines[start:end])
        start = end


def _length(lines: list[str]) -> int:
    """How many of the lines belong to the statement that begins with the first one."""
    if lines[0].lstrip()[:1] in ("%", "!"):
        return next(
            (number for number, line in enumerate(lines, 1) if not line.rstrip("\r\n").endswith("\\")), len(lines)
        )
    if lines[0].strip() == "" or lines[0].lstrip().startswith("#"):
        return 1
    try:
        for token in tokenize.generate_tokens(iter(lines).__next__):
            if token.type == tokenize.NEWLINE:
                return token.start[0]
    except tokenize.TokenError as error:
        return len(lines) if _INCOMPLETE.search(str(error)) else 1
    except SyntaxError:
        return 1  # `_parse` tells what is wrong
    return len(lines)


def _converted(statement: str) -> str:
    body = statement.strip()
    if _is_python(body):
        return statement
    indent = statement[: len(statement) - len(statement.lstrip())]
    end = "\n" if statement.endswith("\n") else ""
    code = _call(re.sub(r"\\\r?\n", " ", body))
    return statement if code is None else f"{indent}{code}{end}"


def _call(body: str) -> str | None:
    """The call that IPython makes of a statement, None if it is ordinary code."""
    asked = _HELP.fullmatch(body)
    if asked and (marks := asked["before"] or asked["after"]):
        return _line_magic("pinfo" if marks == "?" else "pinfo2", asked["name"])
    if body.startswith("!!"):
        return f"get_ipython().getoutput({body[2:]!r})"
    if body.startswith("!"):
        return f"get_ipython().system({body[1:]!r})"
    if body.startswith("%"):
        return _split_magic(body[1:])
    if assigned := _ASSIGNED.fullmatch(body):
        rest = assigned["rest"]
        value = _split_magic(rest) if assigned["kind"] == "%" else f"get_ipython().getoutput({rest!r})"
        return assigned["target"] + value
    return None


def _split_magic(text: str) -> str:
    name, _, arguments = text.partition(" ")
    return _line_magic(name, arguments)


def _line_magic(name: str, arguments: str) -> str:
    return f"get_ipython().run_line_magic({name!r}, {arguments!r})"


def _cell_magic(cell: str) -> str:
    first, _, body = cell.partition("\n")
    name, _, arguments = first[2:].partition(" ")
    return f"get_ipython().run_cell_magic({name!r}, {arguments.strip()!r}, {_ended(body)!r})\n"


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
