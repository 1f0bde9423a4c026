"""The daemon as a program: `python -m pachmount.daemon --mount-dir DIR [--ready-fd N | --foreground]`."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from pachmount import settings as settings_module
from pachmount.daemon import app
from pachmount.errors import ExitCode, PachmountError
from pachmount.namespace.syscalls import signal_at_parents_end
from pachmount.paths import Places, keep_private, places, private_places


class ReadyReport:
    """Tells the process that started us, once, whether we are ready: one JSON line on a pipe."""

    def __init__(self, descriptor: int | None, socket_path: Path) -> None:
        self._descriptor = descriptor
        self._socket_path = socket_path

    def ready(self) -> None:
        self._send({"ready": True, "pid": os.getpid(), "socket": str(self._socket_path)})

    def failed(self, error: PachmountError) -> None:
        if self._descriptor is None:
            print(f"error: {error}", file=sys.stderr)  # noqa: T201 (nobody else tells)
            if error.hint:
                print(f"hint: {error.hint}", file=sys.stderr)  # noqa: T201
        self._send({"ready": False, "error": error.to_dict()})

    def _send(self, message: dict[str, object]) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with open(descriptor, "w", encoding="utf-8") as pipe:
                pipe.write(json.dumps(message) + "\n")


GC_THRESHOLDS = 50_000, 20, 100
"""Look for cycles seldom: with 10,000 staged files in memory that took half the time of a small commit."""


SETTINGS_FLAGS = ("log_level", "log_format", "cache_dir", "cache_size", "listen", "token_file")


def main() -> int:
    gc.set_threshold(*GC_THRESHOLDS)
    keep_private()
    parser = argparse.ArgumentParser(prog="pachmount daemon run", description="the pachmount daemon")
    parser.add_argument("--mount-dir", type=Path)
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--foreground", action="store_true")
    parser.add_argument("--allow-other", action=argparse.BooleanOptionalAction)
    parser.add_argument("--no-auth", dest="require_token", action="store_const", const=False)
    for name in SETTINGS_FLAGS:
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name)
    parser.add_argument("--log-file", type=Path)
    parser.add_argument("--private-dir", type=Path, help="where to have socket, lock, log and state")
    parser.add_argument("--until-unmounted", action="store_true", help="end when the last mount is taken away")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process, which started us, is gone")
    options = parser.parse_args()
    if options.parent is not None and not signal_at_parents_end(signal.SIGTERM, options.parent):
        return int(ExitCode.FAILURE)
    where = _places(options)
    if options.log_file is not None:
        where = replace(where, log_file=Path(os.path.abspath(options.log_file)))
    report = ReadyReport(options.ready_fd, where.socket)
    load = partial(
        settings_module.load,
        allow_other=options.allow_other,
        require_token=options.require_token,
        **{name: getattr(options, name) for name in SETTINGS_FLAGS},
    )
    return app.serve(where, load, foreground=options.foreground, report=report, until_unmounted=options.until_unmounted)


def _places(options: argparse.Namespace) -> Places:
    if options.private_dir is not None:
        return private_places(options.mount_dir, options.private_dir)
    where = places(options.mount_dir)
    return replace(where, log_file=Path(os.path.abspath(options.log_file))) if options.log_file else where


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)  # libfuse threads of replaced mounts may still call into Python, which an orderly exit takes down
