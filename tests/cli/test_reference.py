"""The command tree is documented: docs/cli.md is fresh, everything has help, and it fits on 80 columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer.main

from pachmount.cli.main import run
from pachmount.cli.reference import PAGE, commands, reference, visible_parameters
from pachmount.cli.root import build
from pachmount.cli.tree import ENTRIES, Entry
from pachmount.errors import ExitCode

ROOT = Path(__file__).parents[2]
COMMANDS = dict(commands(typer.main.get_command(build())))


def test_the_reference_is_fresh() -> None:
    fresh = reference()
    assert (ROOT / PAGE).read_text(encoding="utf-8") == fresh, "python -m pachmount.cli.reference"


@pytest.mark.parametrize("path", COMMANDS)
def test_everything_has_help(path: str) -> None:
    command: Any = COMMANDS[path]
    assert command.help.strip()
    assert hasattr(command, "commands") or "Examples:" in command.help
    for parameter in visible_parameters(command):
        assert parameter.help, f"{path} {parameter.name}"
        assert parameter.help[0].isupper() or parameter.help[0] in "[", f"{path} {parameter.name}"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_summaries_are_those_of_the_commands(entry: Entry) -> None:
    loaded = entry.load()
    assert loaded.help.strip().splitlines()[0] == entry.summary
    assert loaded.name == entry.name


@pytest.mark.parametrize("path", ["pachmount", *COMMANDS])
def test_help_fits_on_80_columns(
    path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*path.split()[1:], "--help"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "<str>" not in out
    assert "<bool>" not in out


def test_examples_come_before_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["mount", "-h"]) == 0
    out = capsys.readouterr().out
    assert 0 < out.index("Examples:") < out.index("Options:")


def test_every_exit_code_is_documented() -> None:
    text = reference()
    for code in ExitCode:
        assert f"\n| {int(code)} | " in text
