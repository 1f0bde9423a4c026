"""`daemon start|stop|restart|reload|status|logs|run`: the daemon's life."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import IO, Annotated

import typer

from pachmount.cli import options as opt
from pachmount.cli import output, process
from pachmount.cli.app import App
from pachmount.cli.config import setting_text
from pachmount.cli.state import State
from pachmount.cli.status import status
from pachmount.daemon import spawn
from pachmount.errors import DaemonUnreachableError, ExitCode, NotFoundError, PachmountError

_POLL_INTERVAL = 0.2

Follow = Annotated[bool, typer.Option("--follow", "-f", metavar="", help="Go on printing what is added, until Ctrl-C.")]
Lines = Annotated[int, typer.Option("--lines", "-n", metavar="N", min=0, help="How many of the last lines to print.")]
LogLevel = Annotated[
    str | None,
    typer.Option("--log-level", metavar="LEVEL", help="How much to log: debug, info, warning or error. Default: info."),
]
LogFormat = Annotated[
    str | None, typer.Option("--log-format", metavar="FORMAT", help="How to log: text or json. Default: text.")
]
AllowOther = Annotated[
    bool, typer.Option("--allow-other", metavar="", help="Let other users of this machine see the mounts.")
]
CacheDir = Annotated[Path | None, typer.Option("--cache-dir", metavar="DIR", help="Where downloaded blocks are kept.")]
CacheSize = Annotated[
    str | None,
    typer.Option("--cache-size", metavar="SIZE", help="Limit of the block cache, such as 20G. Default: 10G."),
]


def build() -> App:
    """The commands of the group."""
    app = App(help="Start, stop and look after the daemon.")
    for function, name in ((start, "start"), (stop, "stop"), (restart, "restart"), (status, "status"), (logs, "logs")):
        app.add(function, name)
    app.add(reload, "reload")
    app.add(run, "run")
    return app


def _flags(
    log_level: str | None, log_format: str | None, allow_other: bool, cache_dir: Path | None, cache_size: str | None
) -> list[str]:
    """The daemon's own command line."""
    flags = ["--allow-other"] if allow_other else []
    named = {"--log-level": log_level, "--log-format": log_format, "--cache-size": cache_size}
    if cache_dir is not None:
        named["--cache-dir"] = os.path.abspath(cache_dir)  # the daemon lives in another directory
    for flag, value in named.items():
        flags += [flag, value] if value is not None else []
    return flags


def start(
    state: State,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    allow_other: AllowOther = False,
    cache_dir: CacheDir = None,
    cache_size: CacheSize = None,
) -> None:
    """Start the daemon in the background.

    \b
    Examples:
      pachmount daemon start
      pachmount daemon start --mount-dir ~/other --cache-size 50G

    The mounts of the last time come back. 'pachmount mount' starts the daemon
    too, so this is rarely needed. What is set in
    pachmount.toml or by PACHMOUNT_* variables need not be given here.
    """
    if not spawn.is_listening(state.places.socket):
        process.check_mount_dir(state.places.mount_dir)
    started = spawn.ensure_daemon(state.places, _flags(log_level, log_format, allow_other, cache_dir, cache_size))
    answer = state.client().status()
    verb = "started" if started else "already running"
    output.line(f"daemon {verb} for {answer.mount_dir} (pid {answer.pid})")
    if answer.mounts:
        state.note(f"{output.count(len(answer.mounts), 'mount')}: {', '.join(entry.name for entry in answer.mounts)}")


def stop(state: State) -> None:
    """Stop the daemon and end its mounts.

    \b
    Examples:
      pachmount daemon stop

    The mounts come back at the next start.
    """
    pid = _running_pid(state)
    if pid is None:
        state.note("the daemon is not running")
        return
    _stop(state, pid)
    output.line(f"daemon stopped (pid {pid})")
    remembered = process.remembered_mounts(state.places)
    if remembered:
        state.hint(f"'pachmount daemon start' brings back {', '.join(remembered)}")


def restart(
    state: State,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    allow_other: AllowOther = False,
    cache_dir: CacheDir = None,
    cache_size: CacheSize = None,
) -> None:
    """Stop the daemon and start it again.

    \b
    Examples:
      pachmount daemon restart
      pachmount daemon restart --log-level debug

    The settings and the directories that it writes to are checked first: while
    they keep a daemon from starting, the one that runs is left alone.
    """
    from pachmount import settings
    from pachmount.daemon.checking import check_start

    flags = {"log_level": log_level, "log_format": log_format, "cache_size": cache_size, "cache_dir": cache_dir}
    process.check_mount_dir(state.places.mount_dir)
    check_start(state.places, settings.load(**flags, allow_other=allow_other or None))
    pid = _running_pid(state)
    if pid is not None:
        _stop(state, pid)
    try:
        start(state, log_level, log_format, allow_other, cache_dir, cache_size)
    except PachmountError as error:
        if pid is not None:
            told = "the daemon that ran before was stopped; its mounts come back with the next start"
            error.why = f"{error.why}; {told}" if error.why else told
        raise


def reload(state: State, as_json: opt.Json = False) -> None:
    """Let the daemon read its settings again.

    \b
    Examples:
      pachmount config set log_level debug && pachmount daemon reload

    What can change while it runs holds at once: log_level, log_format, poll_interval, read_timeout, call_timeout and
    the sizes. What else changed is named and takes 'pachmount daemon restart'. Mounts stay as they are. Flags and
    variables with which the daemon was started still come before the file.
    """
    answer = state.client().reload()
    if as_json:
        output.json_answer(answer)
        return
    for change in answer.changes:
        text = f"{change.name}: {setting_text(change.name, change.before)} -> {setting_text(change.name, change.now)}"
        output.line(f"{text} (after a restart)" if change.needs_restart else text)
    if not answer.changes:
        output.line("nothing changed")
    if any(change.needs_restart for change in answer.changes):
        state.hint("pachmount daemon restart")


def _stop(state: State, pid: int) -> None:
    with output.waiting("stopping the daemon", enabled=not state.quiet):
        orderly = process.stop(pid)
    if not orderly:
        state.note("it took too long and was ended at once: dead mounts are cleaned up by the next start")


def _running_pid(state: State) -> int | None:
    """The daemon's pid; a daemon that does not answer is found by its lock file."""
    pid = process.recorded_pid(state.places)
    if pid is not None and process.is_daemon(pid):
        return pid
    if not spawn.is_listening(state.places.socket):
        return None
    return state.client().status().pid


def logs(state: State, follow: Follow = False, lines: Lines = 50) -> None:
    """Print the daemon's log.

    \b
    Examples:
      pachmount daemon logs
      pachmount daemon logs -f
      pachmount daemon logs -n 1000 | grep -i error
    """
    path = state.places.log_file
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise NotFoundError("there is no log yet", f"'{path}' does not exist", "pachmount daemon start") from None
    with file:
        sys.stdout.writelines(deque(file, maxlen=lines))
        sys.stdout.flush()
        if follow:
            _follow(path, file)


def _follow(path: Path, file: IO[str]) -> None:
    """Print what is appended until interrupted; goes over to the new file when the log is rotated."""
    current = file
    try:
        while True:
            replaced = _is_replaced(path, current)
            text = current.read()  # after the look: nothing is added any more to a file that was replaced
            sys.stdout.write(text)
            sys.stdout.flush()
            if replaced:
                if current is not file:
                    current.close()
                current = path.open(encoding="utf-8", errors="replace")
            elif not text:
                time.sleep(_POLL_INTERVAL)
    finally:
        if current is not file:
            current.close()


def _is_replaced(path: Path, file: IO[str]) -> bool:
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False  # the new one comes in a moment


def run(
    state: State,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    allow_other: AllowOther = False,
    cache_dir: CacheDir = None,
    cache_size: CacheSize = None,
) -> ExitCode:
    """Run the daemon in the foreground, with its log on stderr.

    \b
    Examples:
      pachmount daemon run
      pachmount daemon run --log-format json --mount-dir /pfs

    For service managers and containers. SIGTERM, SIGINT, SIGHUP and SIGQUIT end it cleanly:
    everything is unmounted.
    """
    command = [sys.executable, "-m", "pachmount.daemon", "--foreground", "--mount-dir", str(state.places.mount_dir)]
    command += _flags(log_level, log_format, allow_other, cache_dir, cache_size)
    sys.stdout.flush()
    try:
        os.execv(command[0], command)  # noqa: S606 (no shell: these are our own arguments)
    except OSError as error:
        raise DaemonUnreachableError("cannot run the daemon", error.strerror or str(error)) from error
