"""The entry of the command line: the command tree, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from pachmount import __version__
from pachmount.cli import (
    account,
    cache,
    config,
    contexts,
    daemon,
    datum,
    doctor,
    execute,
    importing,
    listing,
    mount_server,
    output,
    serve,
    stats,
    status,
    version,
    views,
    warmup,
    writing,
)
from pachmount.cli import mounts as mounting
from pachmount.cli import options as opt
from pachmount.cli import run as running
from pachmount.cli.app import App, PerhapsRunningCommand, RunningCommand, apply_flags
from pachmount.cli.state import State
from pachmount.errors import ExitCode, InternalError, NotFoundError, NotPermittedError, PachmountError, UsageError

PROGRAM = "pachmount"
EXIT_OUTPUT_CLOSED = 141
"""128 + SIGPIPE, as other programs end when `head` has seen enough."""

_MOUNTS, _DATA, _CLUSTER, _PROGRAM = "Mounts", "Data", "Cluster", "The program"


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
    app = App(callback=_root)
    app.add(mounting.mount, "mount", _MOUNTS)
    app.add(mounting.unmount, "unmount", _MOUNTS)
    app.add(mounting.unmount, "umount", hidden=True)
    app.add(mounting.refresh, "refresh", _MOUNTS)
    app.add(mounting.follow, "follow", _MOUNTS)
    app.add(writing.diff, "diff", _MOUNTS)
    app.add(writing.commit, "commit", _MOUNTS)
    app.add(writing.discard, "discard", _MOUNTS)
    app.add(writing.remount, "remount", _MOUNTS)
    app.add(execute.execute, "exec", _MOUNTS, uses_daemon=False, cls=RunningCommand)
    app.add(running.run, "run", _DATA, uses_daemon=False, cls=PerhapsRunningCommand)
    app.add(warmup.warmup, "warmup", _MOUNTS)
    app.add(status.status, "status", _MOUNTS)
    app.add(stats.stats, "stats", _MOUNTS)
    app.add(listing.list_, "list", _DATA)
    app.add(listing.list_, "ls", hidden=True)
    app.add(importing.import_, "import", _DATA)
    app.add(account.login, "login", _CLUSTER)
    app.add(account.logout, "logout", _CLUSTER)
    app.add(account.whoami, "whoami", _CLUSTER)
    app.add(serve.serve, "serve", _CLUSTER, uses_daemon=False)
    app.add(mount_server.mount_server, "mount-server", _PROGRAM)
    app.add(doctor.doctor, "doctor", _PROGRAM)
    app.add(version.version, "version", _PROGRAM)
    app.add_typer(datum.build(), name="datum", rich_help_panel=_DATA)
    app.add_typer(contexts.build(), name="context", rich_help_panel=_CLUSTER)
    app.add_typer(config.build(), name="config", rich_help_panel=_PROGRAM)
    app.add_typer(daemon.build(), name="daemon", rich_help_panel=_PROGRAM)
    app.add_typer(cache.build(), name="cache", rich_help_panel=_PROGRAM)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code and never raises."""
    state = State()
    try:
        code = build()(mount_server.go_flags(list(arguments)), prog_name=PROGRAM, obj=state, standalone_mode=False)
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


def main() -> None:
    """The console script."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # we have none, and looking for them takes a while
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
