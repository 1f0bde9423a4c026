"""`serve`: the embedded server as a program of its own, for several users or machines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from pachmount import paths
from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.state import State
from pachmount.daemon.spawn import read_ready
from pachmount.errors import ClusterUnreachableError, ExitCode, UsageError

READY_TIMEOUT = 30.0
DEFAULT_LISTEN = "127.0.0.1:30650"

Root = Annotated[
    Path | None,
    typer.Option("--root", metavar="DIR", help="Where the data is. Default: ~/.local/share/pachmount/local."),
]
Listen = Annotated[
    str, typer.Option("--listen", metavar="ADDRESS", help="HOST:PORT (port 0: any free one) or unix:///PATH.")
]


AllowRemote = Annotated[
    bool, typer.Option("--allow-remote", metavar="", help="Listen on an address that other machines reach.")
]
Auth = Annotated[
    Path | None, typer.Option("--auth", metavar="FILE", help="Users and roles; without it everybody may do everything.")
]
Check = Annotated[bool, typer.Option("--check", metavar="", help="Do not serve: check all that is stored.")]
Repair = Annotated[
    bool, typer.Option("--repair", metavar="", help="Do not serve: restore what can be of what is damaged.")
]
Collect = Annotated[bool, typer.Option("--gc", metavar="", help="Do not serve: remove what no commit needs.")]


def serve(
    state: State,
    root: Root = None,
    listen: Listen = DEFAULT_LISTEN,
    allow_remote: AllowRemote = False,
    auth: Auth = None,
    check: Check = False,
    repair: Repair = False,
    collect: Collect = False,
    as_json: opt.Json = False,
) -> ExitCode:
    """Run the embedded server in the foreground, for others to connect to.

    \b
    Examples:
      pachmount serve
      pachmount serve --root ~/shared --listen 127.0.0.1:30650
      pachmount login grpc://127.0.0.1:30650     from another terminal
      pachmount serve --auth users.toml          for tests of logins and roles
      pachmount serve --check                    is everything as it was written?
      pachmount serve --repair                   restore what was damaged

    Without a cluster the daemon runs such a server by itself. There is no
    encryption, and without --auth no login: with --allow-remote everybody who
    can connect may then read and change everything. Ctrl-C and SIGTERM end it.
    --check, --repair and --gc need the data for themselves: stop the daemon or
    server that has it.
    """
    directory = Path(os.path.abspath(root)) if root is not None else paths.local_store()
    asked = [flag for flag, is_asked in (("--check", check), ("--repair", repair), ("--gc", collect)) if is_asked]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} cannot be done at once", "", f"pachmount serve {asked[0]}")
    if asked:
        return _maintain(directory, asked[0], as_json)
    process, read_end = _start(directory, listen, allow_remote, auth)
    _hand_signals_on(process)
    try:
        answer = read_ready(read_end, READY_TIMEOUT)
        if not answer:
            why = f"it was not ready after {READY_TIMEOUT:.0f} s" if answer is None else _last_words(process)
            raise ClusterUnreachableError("the embedded server did not start", why, "pachmount doctor")
    except BaseException:
        process.terminate()
        process.communicate()
        raise
    finally:
        os.close(read_end)
    address = _address(str(answer.get("address") or listen))
    output.line(f"serving {directory} on {address}")
    sys.stdout.flush()
    state.hint(f"pachmount login {address}")
    assert process.stderr is not None  # noqa: S101 (a pipe was asked for)
    for message in process.stderr:  # until the server ends
        sys.stderr.buffer.write(message)
        sys.stderr.flush()
    code = process.wait()
    return ExitCode.OK if code in (0, -signal.SIGTERM, -signal.SIGINT) else ExitCode.FAILURE


def _maintain(directory: Path, flag: str, as_json: bool) -> ExitCode:
    """Let the embedded server's program do it, which prints what there is to say."""
    command = [sys.executable, "-m", "pachmount.localpfs", "--root", str(directory), flag]
    done = subprocess.run([*command, "--json"] if as_json else command, check=False)
    return ExitCode(done.returncode) if done.returncode >= 0 else ExitCode.FAILURE


def _start(directory: Path, listen: str, allow_remote: bool, auth: Path | None) -> tuple[subprocess.Popen[bytes], int]:
    """The server in a session of its own (Ctrl-C reaches us only, and we hand it on) and the readiness pipe.

    Its stderr is held back until it is ready: an error that it reports is printed once, by us.
    """
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "pachmount.localpfs", "--root", str(directory), "--listen", listen]
    command += ["--allow-remote"] if allow_remote else []
    command += ["--auth", str(auth)] if auth is not None else []
    try:
        process = subprocess.Popen(
            [*command, "--ready-fd", str(write_end), "--exit-with-parent"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(write_end,),
            start_new_session=True,
        )
    finally:
        os.close(write_end)
    return process, read_end


def _last_words(process: subprocess.Popen[bytes]) -> str:
    _, stderr = process.communicate(timeout=5)
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"it ended with code {process.returncode}"


def _hand_signals_on(process: subprocess.Popen[bytes]) -> None:
    def hand_on(_number: int, _frame: FrameType | None) -> None:
        process.terminate()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, hand_on)


def _address(listening: str) -> str:
    return listening if "://" in listening else f"grpc://{listening}"
