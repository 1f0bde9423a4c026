"""`completion`: the script that a shell loads."""

from __future__ import annotations

from typing import Annotated

import typer

from pachmount.cli import output
from pachmount.cli.completion_scripts import SCRIPTS
from pachmount.cli.state import State
from pachmount.errors import UsageError

Shell = Annotated[str, typer.Argument(metavar="SHELL", help="Which one: bash, zsh or fish.", show_default=False)]


def completion(state: State, shell: Shell) -> None:  # noqa: ARG001 (every command takes it)
    """Print the completion script of a shell.

    \b
    Examples:
      echo 'source <(pachmount completion bash)' >> ~/.bashrc
      pachmount completion zsh > "${fpath[1]}/_pachmount"
      pachmount completion fish > ~/.config/fish/completions/pachmount.fish

    Commands, options and, while the daemon runs, live names are completed: repos, branches, commits, files, mounts.
    """
    if shell not in SCRIPTS:
        raise UsageError(f"no completion for '{shell}'", "there is one for bash, zsh and fish")
    output.text(SCRIPTS[shell])
