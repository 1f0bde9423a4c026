"""`datum mount|status|next|prev|show|list|unmount|download`: see what a pipeline's code would see, datum by datum."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachmount.cli import datum_download, output
from pachmount.cli import options as opt
from pachmount.cli.app import App
from pachmount.cli.state import State
from pachmount.errors import ConfigurationError, NotFoundError, UsageError

if TYPE_CHECKING:
    from pachmount.api.schema import DatumAnswer, DatumEntry, DatumStatus
    from pachmount.client import DaemonClient

MAX_SPEC_BYTES = 8 << 20

Spec = Annotated[
    str | None,
    typer.Argument(
        metavar="SPEC",
        help="A file with a pipeline, or its input alone, in YAML or JSON; - is standard input.",
        show_default=False,
    ),
]
Pfs = Annotated[
    list[str] | None,
    typer.Option(
        "--pfs",
        metavar="SOURCE:GLOB",
        help="An input in short, such as images:/* or p/images@dev:/; several are crossed.",
        show_default=False,
    ),
]
Which = Annotated[
    str, typer.Argument(metavar="N|ID", help="A datum, by its number (from 0) or id.", show_default=False)
]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="How many to list. Default: all.", show_default=False)
]


def build() -> App:
    """The commands of the group."""
    app = App(help="See what a pipeline's code would see, datum by datum.")
    for function, name in ((mount, "mount"), (status, "status"), (next_, "next"), (prev, "prev"), (show, "show")):
        app.add(function, name)
    app.add(list_, "list")
    app.add(unmount, "unmount")
    app.add(datum_download.download, "download")
    return app


def mount(state: State, spec: Spec = None, pfs: Pfs = None, as_json: opt.Json = False) -> None:
    """Show the first datum of an input in the place of all mounts.

    \b
    Examples:
      pachmount datum mount pipeline.yaml
      pachmount datum mount --pfs 'images:/*'
      pachmount datum mount --pfs 'images:/*' --pfs models:/

    Each input is a directory of its name with the files of this datum alone, as
    code finds them in /pfs in a pipeline, and out is an empty directory to write
    to. 'pachmount datum unmount' brings back what was mounted before, with what
    was staged in it.
    """
    body = read_spec(state, spec, pfs)
    client = state.client(start=True)
    with output.waiting("listing the datums", enabled=not state.quiet):
        answer = client.mount_datums(body)
    _tell(state, client, answer, as_json)


def status(state: State, as_json: opt.Json = False) -> None:
    """Show which datum is shown, and how many there are.

    \b
    Examples:
      pachmount datum status
    """
    current = _current(state.client())
    if as_json:
        output.json_answer(current)
        return
    known = "" if current.all_datums_received else f" (so far; {current.received} are known)"
    output.line(f"datum {current.idx} of {current.num_datums}{known}: {current.id}")
    _files(current)
    if current.error is not None:
        state.note(f"not all datums could be listed: {current.error.error}")


def next_(state: State, as_json: opt.Json = False) -> None:
    """Show the next datum.

    \b
    Examples:
      pachmount datum next
    """
    client = state.client()
    _tell(state, client, client.step_datum(1), as_json)


def prev(state: State, as_json: opt.Json = False) -> None:
    """Show the previous datum.

    \b
    Examples:
      pachmount datum prev
    """
    client = state.client()
    _tell(state, client, client.step_datum(-1), as_json)


def show(state: State, which: Which, as_json: opt.Json = False) -> None:
    """Show a datum by its number or id.

    \b
    Examples:
      pachmount datum show 7
    """
    client = state.client()
    by_number = which.isdecimal() and len(which) < 20
    answer = client.show_datum(index=int(which)) if by_number else client.show_datum(datum_id=which)
    _tell(state, client, answer, as_json)


def list_(state: State, limit: Limit = None, as_json: opt.Json = False) -> None:
    """List the datums, one a line: number, id, files.

    \b
    Examples:
      pachmount datum list
      pachmount datum list --json --limit 10
    """
    client = state.client()
    left = limit or sys.maxsize
    start: int | None = 0
    while start is not None and left > 0:
        page = client.datums(start, min(left, 1000))
        for entry in page.datums:
            if as_json:
                output.line(json.dumps(entry.model_dump()))
            else:
                output.line(f"{entry.idx}  {entry.id[:16]}  {_places(entry)}")
        left -= len(page.datums)
        start = page.next
        if start is None and not page.all_datums_received:
            state.note("more are being listed")


def unmount(state: State) -> None:
    """Bring back what was mounted before the datums.

    \b
    Examples:
      pachmount datum unmount

    What is in out goes away.
    """
    client = state.client()
    client.unmount_datums()
    names = [mount.name for mount in client.status().mounts]
    output.line(f"mounted again: {', '.join(names)}" if names else "no datums are mounted any more")


def read_spec(state: State, spec: str | None, pfs: list[str] | None) -> str:
    """The text of an input spec, from a file, standard input or its short forms."""
    if (spec is None) == (not pfs):
        raise UsageError("give a SPEC or --pfs", "one of them says what the input is", f"{state.command} --help")
    if pfs:
        from pachmount.datums.model import Cross, Input
        from pachmount.datums.spec import parse_short, to_dict

        inputs = tuple(parse_short(text) for text in pfs)
        source: Input = inputs[0] if len(inputs) == 1 else Cross(inputs)
        return json.dumps({"input": to_dict(source)})
    try:
        text = sys.stdin.read(MAX_SPEC_BYTES + 1) if spec == "-" else _read(Path(str(spec)))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"cannot read '{spec}'", why) from error
    if len(text) > MAX_SPEC_BYTES:
        raise UsageError(f"cannot use '{spec}'", "it is too large for a pipeline")
    return text


def _read(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.read(MAX_SPEC_BYTES + 1)


def _tell(state: State, client: DaemonClient, answer: DatumAnswer, as_json: bool) -> None:
    if as_json:
        output.json_answer(_current(client))
        return
    number = f"{answer.num_datums}" if answer.all_datums_received else f"{answer.num_datums} or more"
    output.line(f"datum {answer.idx} of {number}: {answer.id}")
    if not state.quiet:
        _files(_current(client))


def _files(current: DatumStatus) -> None:
    directory = Path(current.out).parent
    for file in current.files:
        output.line(
            f"  {directory}/{file.input}{file.path if file.path != '/' else ''}  {output.size(file.size_bytes)}"
        )
    output.line(f"  {current.out}")


def _places(entry: DatumEntry) -> str:
    shown = [f"{file.input}{file.path}" for file in entry.files[:5]]
    return " ".join(shown) + (f" and {len(entry.files) - 5} more" if len(entry.files) > 5 else "")


def _current(client: DaemonClient) -> DatumStatus:
    current = client.status().datum
    if current is None:
        raise NotFoundError("no datums mounted", "", "pachmount datum mount SPEC")
    return current
