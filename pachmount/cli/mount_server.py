"""`mount-server`: the daemon with the flags of the original's program, for the place that it had in images."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pachmount.cli import process
from pachmount.cli.daemon import LogFormat, LogLevel
from pachmount.cli.state import State
from pachmount.errors import DaemonUnreachableError

ORIGINAL_ADDRESS = "127.0.0.1:9002"

SockPath = Annotated[
    Path | None,
    typer.Option("--sock-path", metavar="FILE", help="Serve on this unix socket, and not over TCP unless --listen."),
]
LogFile = Annotated[Path | None, typer.Option("--log-file", metavar="FILE", help="Log to this file, too.")]
AllowOther = Annotated[
    bool | None,
    typer.Option(
        "--allow-other/--no-allow-other",
        metavar="",
        show_default=False,
        help="Let other users see the mounts. Default: only with SIDECAR_MODE.",
    ),
]
Listen = Annotated[
    str | None,
    typer.Option("--listen", metavar="HOST:PORT", help=f"Where to serve over TCP. Default: {ORIGINAL_ADDRESS}."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", help="The token that clients over TCP must send; made if missing."),
]
NoAuth = Annotated[
    bool, typer.Option("--no-auth", metavar="", help="Let everybody who reaches the TCP port use the daemon.")
]


def mount_server(
    state: State,
    sock_path: SockPath = None,
    log_file: LogFile = None,
    allow_other: AllowOther = None,
    listen: Listen = None,
    token_file: TokenFile = None,
    no_auth: NoAuth = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run the daemon in the place of Pachyderm's mount-server.

    \b
    Examples:
      pachmount mount-server --no-auth                  for this machine alone
      pachmount mount-server --sock-path /tmp/pfs.sock
      pachmount mount-server --listen 0.0.0.0:9002 --token-file token

    It runs in the foreground and logs to standard error. Without a cluster it
    starts, too: PUT /config tells it one later. Over TCP it asks for the token
    ('Authorization: Bearer TOKEN'), which the original did not: clients that know
    of no token need the socket, or --no-auth.
    """
    if sock_path is not None:
        os.environ["PFS_SOCK_PATH"] = os.path.abspath(sock_path)
    where = state.places
    _refuse_without_mounts(where.mount_dir)
    command = [sys.executable, "-m", "pachmount.daemon", "--foreground", "--mount-dir", str(where.mount_dir)]
    named = {
        "--listen": listen or ("" if sock_path is not None else ORIGINAL_ADDRESS),
        "--token-file": os.path.abspath(token_file) if token_file is not None else None,
        "--log-file": os.path.abspath(log_file) if log_file is not None else None,
        "--log-level": log_level,
        "--log-format": log_format,
    }
    for flag, value in named.items():
        command += [flag, value] if value else []
    if allow_other is not None:
        command.append("--allow-other" if allow_other else "--no-allow-other")
    command += ["--no-auth"] if no_auth else []
    sys.stdout.flush()
    try:
        os.execv(command[0], command)  # noqa: S606 (no shell: these are our own arguments)
    except OSError as error:
        raise DaemonUnreachableError("cannot run the daemon", error.strerror or str(error)) from error


def _refuse_without_mounts(mount_dir: Path) -> None:
    """CannotMountError, as the original's end, where nothing could ever be mounted."""
    from pachmount.fuse.kernel import check_fuse

    process.check_mount_dir(mount_dir)
    check_fuse()


def go_flags(arguments: list[str]) -> list[str]:
    """The original's spelling of a flag in ours: `--allow-other=false`."""
    if "mount-server" not in arguments:
        return arguments
    spelled = dict.fromkeys(("1", "t", "true"), "--allow-other")
    spelled |= dict.fromkeys(("0", "f", "false"), "--no-allow-other")
    found = []
    for argument in arguments:
        name, sign, value = argument.partition("=")
        found.append(spelled.get(value.lower(), argument) if sign and name == "--allow-other" else argument)
    return found
