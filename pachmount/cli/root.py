"""The root of the command tree: the program itself, with the flags that every command takes."""

from __future__ import annotations

from typing import Annotated

import typer

from pachmount import __version__
from pachmount.cli import options as opt
from pachmount.cli.app import App, apply_flags
from pachmount.cli.state import PROGRAM, State
from pachmount.cli.tree import Root


def _version_flag(wanted: bool) -> None:
    if wanted:
        print(f"{PROGRAM} {__version__}")  # noqa: T201
        raise typer.Exit()


def _root(
    ctx: typer.Context,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
    debug: opt.Debug = False,
    no_input: opt.NoInput = False,
    version: Annotated[  # noqa: ARG001 (its callback does the work)
        bool, typer.Option("--version", metavar="", callback=_version_flag, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Versioned Pachyderm data as files.

    \b
    Examples:
      pachmount import ./photos images         put a directory into a repository
      pachmount mount images                   and see it at /pfs/images
      pachmount status                         what is mounted and connected
      pachmount unmount images
      pachmount login grpc://pachd.example:80  use a cluster from now on

    The mount directory is /pfs if you can use it, else ~/pfs.

    Without a cluster everything works on an embedded server with its data below
    ~/.local/share/pachmount.
    """
    apply_flags(ctx.ensure_object(State), quiet=quiet, verbose=verbose, debug=debug, no_input=no_input)


def build() -> App:
    """The command tree."""
    return App(cls=Root, callback=_root)
