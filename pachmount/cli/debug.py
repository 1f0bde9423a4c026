"""`debug bundle|trace`: for those who look for the cause of something."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.app import App
from pachmount.cli.mounts import resolve
from pachmount.cli.state import State

if TYPE_CHECKING:
    from pachmount.api.schema import TracedOperation

POLL_SECONDS = 0.2

Name = Annotated[str, typer.Argument(metavar="NAME|DIR", help="The mount, by name or by directory.")]
Seconds = Annotated[
    float, typer.Option("--seconds", metavar="N", min=0, show_default=False, help="For so long; default: until Ctrl-C.")
]
Target = Annotated[
    Path | None,
    typer.Argument(metavar="FILE.tar.gz", help="Default: pachmount-debug-DATE.tar.gz here.", show_default=False),
]


def build() -> App:
    """The commands of the group."""
    app = App(help="Find out what goes wrong: what mounts do, all that a report needs.")
    app.add(bundle, "bundle")
    app.add(trace, "trace")
    return app


def bundle(state: State, target: Target = None, as_json: opt.Json = False) -> None:
    """Collect all that a bug report needs in one file.

    \b
    Examples:
      pachmount debug bundle
      pachmount debug bundle /tmp/for-the-report.tar.gz

    Versions, settings, the ends of the logs, status, statistics, the mount table and what 'pachmount doctor' finds.
    No content of files and no tokens; names of repos and files, addresses and user names are in it. Works without a
    daemon.
    """
    from pachmount.cli.bundle import collect, write

    path = target or Path(time.strftime("pachmount-debug-%Y%m%d-%H%M%S.tar.gz"))
    with output.waiting("looking at everything", enabled=not state.quiet):
        parts = collect(state)
        write(path, parts)
    if as_json:
        output.json_answer({"file": str(path.absolute()), "parts": sorted(parts)})
        return
    output.line(str(path))
    state.hint(f"look at it before you send it: tar -tzf {path}")


def trace(state: State, name: Name, seconds: Seconds = 0.0, as_json: opt.Json = False) -> None:
    """Show the file operations of a mount as they come.

    \b
    Examples:
      pachmount debug trace images
      pachmount debug trace images --seconds 10 --json > operations.jsonl

    What the kernel answers from its cache does not reach the daemon and is not shown. Each line has the time, the
    operation, its path, the range of bytes, the result and how long it took; with --json it is an object. Nothing is
    noted while nobody looks.
    """
    client = state.client()
    mounted = resolve(client.status().mounts, name)
    answer = client.trace(mounted.name)
    deadline = time.monotonic() + seconds if seconds else None
    state.note(f"tracing {mounted.name} at {mounted.mountpoint}")
    while True:
        for operation in answer.operations:
            output.json_line(operation) if as_json else output.line(_text(operation))
        sys.stdout.flush()
        if answer.lost:
            state.note(f"{output.count(answer.lost, 'operation')} left out: they came too fast")
        if deadline is not None and time.monotonic() >= deadline:
            return
        if not answer.operations:
            time.sleep(POLL_SECONDS)
        answer = client.trace(mounted.name, answer.next)


def _text(operation: TracedOperation) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(operation.time))
    milliseconds = int(operation.time % 1 * 1000)
    where = "" if operation.offset is None else f" at {operation.offset}"
    size = "" if operation.size is None else f" {operation.size}"
    result = operation.error or str(operation.result)
    what = f"{operation.operation} {operation.path or '(an open file)'}{size}{where}"
    return f"{clock}.{milliseconds:03} {what} = {result} ({output.latency(operation.seconds)})"
