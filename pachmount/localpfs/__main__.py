"""`python -m pachmount.localpfs`: the embedded server as a process of its own."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pachmount.errors import InternalError, PachmountError
from pachmount.localpfs import maintenance
from pachmount.localpfs.server import serve
from pachmount.paths import keep_private

if TYPE_CHECKING:
    from pachmount.localpfs.auth.settings import AuthSettings

PARENT_CHECK_SECONDS = 0.5
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def main() -> int:
    """Run the server; the exit code of the process."""
    keep_private()
    parser = argparse.ArgumentParser(prog="python -m pachmount.localpfs", description="Serve a local PFS store.")
    parser.add_argument("--root", type=Path, required=True, help="directory of the store; made if it is missing")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--listen", help="unix:///path/to/socket or 127.0.0.1:PORT (0: any port)")
    what.add_argument("--check", action="store_true", help="check the store, which no server may have open")
    what.add_argument("--glance", action="store_true", help="say whether a start would find damage; reads little")
    what.add_argument("--repair", action="store_true", help="restore what can be of a damaged store")
    what.add_argument("--gc", action="store_true", help="remove what no commit needs from the store")
    parser.add_argument("--json", action="store_true", help="with --check, --repair and --gc: the report as JSON")
    parser.add_argument("--ready-fd", type=int, help="descriptor that gets one line of JSON: ready, or the error")
    parser.add_argument("--allow-remote", action="store_true", help="listen on an address that other machines reach")
    parser.add_argument("--auth", type=Path, help="file with users and roles; without it everybody may do everything")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when the process that started us is gone")
    arguments = parser.parse_args()
    if arguments.exit_with_parent:
        threading.Thread(target=_stop_without_parent, args=(os.getppid(),), daemon=True).start()
    _keep_memory()
    tell = _teller(arguments.ready_fd)

    def on_ready(address: str) -> None:
        tell({"ready": True, "pid": os.getpid(), "address": address})

    try:
        if not arguments.listen:
            asked = {
                "check": maintenance.check,
                "glance": maintenance.glance,
                "repair": maintenance.repair,
                "gc": maintenance.collect,
            }
            (run,) = (run for name, run in asked.items() if getattr(arguments, name))
            return run(arguments.root, as_json=arguments.json)
        auth = _auth(arguments.auth) if arguments.auth is not None else None
        serve(arguments.root, arguments.listen, on_ready, allow_remote=arguments.allow_remote, auth=auth)
    except PachmountError as error:
        tell({"ready": False, "error": error.to_dict()})
        print(f"error: {error}", *([f"hint: {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr)  # noqa: T201
        return int(error.exit_code)
    except Exception as error:
        tell({"ready": False, "error": InternalError("the embedded server failed", repr(error)).to_dict()})
        raise
    return 0


def _auth(path: Path) -> AuthSettings:
    from pachmount.localpfs.auth import settings  # which takes as long to import as all else here

    return settings.load(path)


def _keep_memory() -> None:
    """Let the C library keep the memory of messages for the next ones; clearing it anew costs as much as hashing."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # not glibc
    mallopt(_M_TRIM_THRESHOLD, 32 * 1024 * 1024)
    mallopt(_M_MMAP_THRESHOLD, 32 * 1024 * 1024)


def _stop_without_parent(parent: int) -> None:
    """A daemon that was killed cannot stop us; nobody else would."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _teller(descriptor: int | None) -> Callable[[dict[str, Any]], None]:
    """A function that writes its first argument as a line to the descriptor, closes it, and then does nothing."""
    left = [] if descriptor is None else [descriptor]

    def tell(message: dict[str, Any]) -> None:
        if left:
            with os.fdopen(left.pop(), "w") as stream:
                stream.write(json.dumps(message) + "\n")

    return tell


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # not sys.exit, which waits without a limit for threads that still answer calls
