"""The command tree as a table, for completion; `python -m pachmount.cli.command_table` writes it.

Reading it takes a thousandth of a second; importing Typer and the module of a command takes a tenth.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

TABLE = Path("pachmount/cli/commands.json")
"""Seen from the top of the repository."""


class Option(NamedTuple):
    """All the names of an option, such as ("--watch", "-w"), and what the help calls its value."""

    names: tuple[str, ...]
    metavar: str
    takes_value: bool
    hidden: bool
    help: str


class Argument(NamedTuple):
    """What the help calls an argument, and whether there can be any number of it."""

    metavar: str
    repeats: bool


class Command(NamedTuple):
    """A command with its parameters, or a group with its commands. `help` is one line."""

    name: str
    help: str
    hidden: bool
    options: tuple[Option, ...]
    arguments: tuple[Argument, ...]
    commands: tuple[Command, ...]


def read_table() -> Command:
    """The whole tree."""
    return _command(json.loads(Path(__file__).with_name(TABLE.name).read_text(encoding="utf-8")))


def _command(fields: list[Any]) -> Command:
    name, summary, hidden, options, arguments, commands = fields
    return Command(
        name,
        summary,
        hidden,
        tuple(Option(tuple(names), *rest) for names, *rest in options),
        tuple(Argument(*each) for each in arguments),
        tuple(_command(each) for each in commands),
    )


def _described(name: str, summary: str, command: Any) -> Command:
    options = [each for each in command.params if each.param_type_name == "option"]
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    summaries = {entry: text for _, entry, text in command.summaries()} if hasattr(command, "commands") else {}
    return Command(
        name,
        summary,
        command.hidden,
        tuple(_option(each) for each in options),
        tuple(Argument(each.metavar, each.nargs == -1) for each in arguments),
        tuple(
            _described(each, summaries.get(each, ""), made) for each, made in getattr(command, "commands", {}).items()
        ),
    )


def _option(option: Any) -> Option:
    lines = (option.help or "").splitlines()
    names = (*option.opts, *option.secondary_opts)
    takes_value = not (option.is_flag or option.count)
    return Option(names, option.metavar or "", takes_value, option.hidden, lines[0] if lines else "")


def table() -> str:
    """What the file is to have."""
    import typer.main

    from pachmount.cli.root import build

    tree = _described("pachmount", "", typer.main.get_command(build()))
    return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    import sys

    from pachmount import generated

    sys.exit(generated.main("pachmount.cli.command_table", {TABLE: table()}))
