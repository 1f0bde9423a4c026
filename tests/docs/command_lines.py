"""The `pachmount …` lines of documents, and whether the command tree takes them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from pachmount.cli import reference
from pachmount.cli.root import build

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / reference.PAGE
DOCUMENTS = sorted({ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")} - {REFERENCE})
"""All but the reference, which is made of the command tree itself."""

_FENCED = re.compile(r"^```\w*\n.*?^```$", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r"^(?: {4,}|\$ |)(?:[A-Z_]+=\S+ )?(?:.* (?:--|&&|\|) )?(pachmount .+)$", re.MULTILINE)
_INDENTED = re.compile(r"^ {4,}\S.*$", re.MULTILINE)
_INLINE = re.compile(r"`([^`]+)`")
_OPTIONAL = re.compile(r" \[-[^\]]*\]")
_OPERATOR = re.compile(r"[;&|<>()]+")


def command_lines(document: Path) -> Iterator[list[str]]:
    """The words of each, in blocks and in running text, without comments and what follows in a shell's line."""
    text = document.read_text(encoding="utf-8")
    blocks = [*_FENCED.findall(text), *_INDENTED.findall(_FENCED.sub("", text))]
    inline = [" ".join(found.split()) for found in _INLINE.findall(_INDENTED.sub("", _FENCED.sub("", text)))]
    lines = [line for block in blocks for line in _LINE.findall(block.replace("\\\n", ""))]
    for line in [*lines, *(line for line in inline if line.startswith("pachmount "))]:
        words = _words(line)
        if len(words) > 1 and re.match(r"-|[a-z]", words[1]):
            yield words


def path_of(words: list[str]) -> str:
    """The command that they call: `pachmount datum mount`."""
    command: Any = typer.main.get_command(build())
    path = [words[0]]
    for word in words[1:]:
        if not hasattr(command, "commands") or word not in command.commands:
            break
        command = command.commands[word]
        path.append(word)
    return " ".join(path)


def parse(words: list[str]) -> None:
    """Raises click's usage error, or AssertionError, if it could not be called like that."""
    command: Any = typer.main.get_command(build())
    rest = [word for word in words[1:] if word not in ("…", "...")]
    while hasattr(command, "commands"):
        if not rest or rest[0].startswith("-"):  # the command's name in running text; the program's own options
            return
        assert rest[0] in command.commands, " ".join(words)
        command, rest = command.commands[rest[0]], rest[1:]
        if not rest:
            return
    if not {"-h", "--help"} & set(rest):
        command.make_context(" ".join(words), list(rest)).close()


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(_OPTIONAL.sub("", line), posix=True, punctuation_chars=";&|<>()")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if _OPERATOR.fullmatch(word):
            break
        words.append(word)
    return words
