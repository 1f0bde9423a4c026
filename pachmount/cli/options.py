"""Options and arguments that several commands share, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MountDir = Annotated[
    Path | None,
    typer.Option(
        "--mount-dir",
        metavar="DIR",
        envvar="PFS_MOUNT_DIR",
        help="The directory below which mounts appear; each has a daemon of its own. "
        "Default: /pfs if it can be used, else ~/pfs.",
    ),
]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print the answer as JSON (see docs/cli.md).")]
Watch = Annotated[bool, typer.Option("--watch", "-w", metavar="", help="Show what happens now, until Ctrl-C.")]
Interval = Annotated[
    float, typer.Option("--interval", metavar="SECONDS", min=0.1, max=3600, help="How often with --watch.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask.")]
NamesOrDirs = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME|DIR", help="Mounts, by name or by directory.", show_default=False),
]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="Print errors only, besides the answer.")]
Verbose = Annotated[
    int,
    typer.Option("--verbose", "-v", count=True, metavar="", show_default=False, help="Say more; -vv says everything."),
]
Debug = Annotated[bool, typer.Option("--debug", metavar="", help="Log everything; show tracebacks of errors.")]
NoInput = Annotated[bool, typer.Option("--no-input", metavar="", help="Never ask; fail instead.")]
