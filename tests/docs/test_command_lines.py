"""Every command line of the documents can be called like that; every command is told of beside the reference."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from pachmount.cli import reference
from pachmount.cli.root import build
from tests.docs.command_lines import DOCUMENTS, ROOT, command_lines, parse, path_of


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_command_lines_parse(document: Path) -> None:
    for words in command_lines(document):
        parse(words)


def test_every_command_is_told_of() -> None:
    told = {path_of(words) for document in DOCUMENTS for words in command_lines(document)}
    commands = {path for path, command in reference.commands(typer.main.get_command(build())) if not _is_group(command)}
    assert len(commands) > 40
    assert commands - told == set()


def _is_group(command: object) -> bool:
    return hasattr(command, "commands")


def test_words_are_those_of_a_shell(tmp_path: Path) -> None:
    document = tmp_path / "x.md"
    document.write_text(
        "Say `pachmount\nlist 'a b'`.\n\n    pachmount import photos images -m \"x y\"  # no comment\n"
        "    PACH_CONTEXT=a pachmount list | head\n\n"
        "```console\n$ pachmount run s -- python3 e.py > log\nerror: pachmount\n```\n"
    )
    assert sorted(command_lines(document)) == [
        ["pachmount", "import", "photos", "images", "-m", "x y"],
        ["pachmount", "list"],
        ["pachmount", "list", "a b"],
        ["pachmount", "run", "s", "--", "python3", "e.py"],
    ]


def test_a_wrong_line_is_noticed() -> None:
    with pytest.raises(AssertionError, match="lst"):
        parse(["pachmount", "lst"])
    with pytest.raises(Exception, match="no-such-option"):
        parse(["pachmount", "mount", "images", "--no-such-option"])
