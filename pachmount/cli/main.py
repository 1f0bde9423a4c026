"""The entry of the command line: the command tree, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from pachmount import __version__
from pachmount.cli import options as opt
from pachmount.cli import output, views
from pachmount.cli.app import App, apply_flags
from pachmount.cli.state import State
from pachmount.cli.tree import Root
from pachmount.errors import ExitCode, InternalError, NotFoundError, NotPermittedError, PachmountError, UsageError

PROGRAM = "pachmount"
COMPLETION_VARIABLE = "_PACHMOUNT_COMPLETE"
EXIT_OUTPUT_CLOSED = 141
"""128 + SIGPIPE, as other programs end when `head` has seen enough."""


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


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code and never raises."""
    state = State()
    try:
        if tuple(arguments) in _STATUS:
            code = _status(state, *arguments[1:])
        else:
            code = build()(_spelled(list(arguments)), prog_name=PROGRAM, obj=state, standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except (BrokenPipeError, output.OutputClosedError):
        # The reader went away. Python would complain again when it flushes at exit, so give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OUTPUT_CLOSED
    except typer.Abort:  # Ctrl-C or the end of input at a question, whose line is still open
        output.note("")
        return ExitCode.INTERRUPTED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as failure:  # noqa: BLE001 (the last net: a traceback is not an answer)
        return _report(failure, state)


_STATUS = (("status",), ("status", "--json"))


def _status(state: State, *flags: str) -> ExitCode:
    """The command that prompts and scripts run all the time, without Typer, which imports pydantic to read a flag."""
    from pachmount.cli.status import status

    state.as_json = bool(flags)
    state.command = f"{PROGRAM} status"
    state.configure_logging()
    try:
        return status(state, as_json=state.as_json)
    finally:
        state.close()


def _spelled(arguments: list[str]) -> list[str]:
    """The arguments in our spelling."""
    if "mount-server" not in arguments:
        return arguments
    from pachmount.cli.mount_server import go_flags

    return go_flags(arguments)


def _report(failure: Exception, state: State) -> int:
    if state.debug:
        import traceback

        traceback.print_exception(failure)
    error = _as_pachmount_error(failure)
    if error is None:  # the help of a group that was called without a command
        print(failure.ctx.get_help(), file=sys.stderr)  # type: ignore[attr-defined]  # noqa: T201
        return ExitCode.USAGE
    error.hint = error.hint or _usual_hint(error, state)
    if state.as_json:
        output.json_error(error)
    else:
        output.error(error)
    return error.exit_code


def _usual_hint(error: PachmountError, state: State) -> str:
    """What helps with most errors of a kind, for those that come without a hint of their own."""
    if isinstance(error, UsageError):
        return f"{state.command} --help"
    if isinstance(error, NotFoundError):
        return "'pachmount list' shows the repos, 'pachmount list REPO' its branches"
    if isinstance(error, NotPermittedError):
        return "'pachmount status' shows who is logged in"
    return "'pachmount doctor' looks for the cause"


def _as_pachmount_error(failure: Any) -> PachmountError | None:
    """Typer's usage errors and unexpected exceptions in our own words; None asks for help instead."""
    if isinstance(failure, PachmountError):
        return failure
    if type(failure).__name__ == "NoArgsIsHelpError":
        return None
    if hasattr(failure, "format_message"):  # a usage error of Typer (its class is private and has moved before)
        context = getattr(failure, "ctx", None)
        path = context.command_path if context is not None else PROGRAM
        return UsageError(views.sentence(failure.format_message()), hint=f"{path} --help")
    why = f"{type(failure).__name__}: {failure}"
    return InternalError("this is a bug", why, "run it again with --debug and report what it prints")


def _complete(words: Sequence[str]) -> None:
    """Answer a shell that asks how the line may go on; it must never see an error."""
    from pachmount.cli.completing import answer

    with contextlib.suppress(Exception):
        sys.stdout.write("".join(f"{line}\n" for line in answer(words)))


def main() -> None:
    """The console script."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # we have none, and looking for them takes a while
    if os.environ.get(COMPLETION_VARIABLE):
        _complete(sys.argv[1:])
        return
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
