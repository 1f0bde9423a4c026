"""Runs one command line: the one place where errors become messages and exit codes.

`status` is answered without Typer, whose import takes longer than the rest: prompts and scripts run it all the time.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

from pachmount.cli import output, views
from pachmount.cli.state import PROGRAM, State
from pachmount.errors import (
    ExitCode,
    InternalError,
    NotFoundError,
    NotPermittedError,
    PachmountError,
    StorageFullError,
    UsageError,
)

EXIT_OUTPUT_CLOSED = 141
"""128 + SIGPIPE, as other programs end when `head` has seen enough."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code and never raises."""
    _open_closed_streams()
    state = State()
    try:
        if tuple(arguments) in _STATUS:
            code = _status(state, *arguments[1:])
        else:
            from pachmount.cli.root import build

            code = build()(_spelled(list(arguments)), prog_name=PROGRAM, obj=state, standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except (BrokenPipeError, output.OutputClosedError):
        # The reader went away. Python would complain again when it flushes at exit, so give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OUTPUT_CLOSED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as failure:  # noqa: BLE001 (the last net: a traceback is not an answer)
        return _report(failure, state)


def _open_closed_streams() -> None:
    """Put /dev/null where our caller closed a standard stream: the next file we open would take its number."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115


_STATUS = (("status",), ("status", "--json"))


def _status(state: State, *flags: str) -> ExitCode:
    from pachmount.cli.status_view import show_status

    state.as_json = bool(flags)
    state.command = f"{PROGRAM} status"
    state.configure_logging()
    try:
        return show_status(state, as_json=state.as_json)
    finally:
        state.close()


def _spelled(arguments: list[str]) -> list[str]:
    """The arguments in our spelling."""
    if "mount-server" not in arguments:
        return arguments
    from pachmount.cli.mount_server import go_flags

    return go_flags(arguments)


def _report(failure: Exception, state: State) -> int:
    if type(failure).__name__ == "Abort":  # Ctrl-C or the end of input at a question, whose line is still open
        output.note("")
        return ExitCode.INTERRUPTED
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
    if isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        place = f"'{failure.filename}'" if failure.filename else "the output"
        return StorageFullError(f"cannot write {place}", str(failure.strerror), "make room, and run it again")
    why = f"{type(failure).__name__}: {failure}"
    return InternalError("this is a bug", why, "run it again with --debug and report what it prints")
