"""`tree`: a commit's directories and files, drawn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.listing import as_answer
from pachmount.cli.sources import Opener, path_of
from pachmount.cli.state import State
from pachmount.errors import UsageError

if TYPE_CHECKING:
    from pachmount.reading import FileInfo, Snapshot

SourcePath = Annotated[
    str, typer.Argument(metavar="SOURCE[:/PATH]", help="[PROJECT/]REPO[@BRANCH|@COMMIT][:/PATH] of a directory.")
]
Depth = Annotated[int, typer.Option("--depth", "-L", metavar="N", min=0, help="Levels to show; 0: all.")]
Ascii = Annotated[bool, typer.Option("--ascii", metavar="", help="Draw with ASCII characters.")]


class Lines(NamedTuple):
    """What the lines are drawn with, each four characters wide."""

    inner: str
    last: str
    bar: str
    blank: str = "    "


UNICODE = Lines("├── ", "└── ", "│   ")
ASCII = Lines("|-- ", "`-- ", "|   ")


class Shown(NamedTuple):
    """An entry, how deep it is, and whether it is the last of its directory and of those above."""

    file: FileInfo
    is_last: tuple[bool, ...]


def tree(
    state: State, source: SourcePath, depth: Depth = 0, ascii_lines: Ascii = False, as_json: opt.Json = False
) -> None:
    """Show the directories and files of a commit as a tree.

    \b
    Examples:
      pachmount tree images
      pachmount tree images@dev:/2024 --depth 2

    The size of a directory is that of all that is below it.
    """
    snapshot = Opener(state).open(source)
    top = snapshot.info(path_of(source))
    if not top.is_dir:
        raise UsageError(f"cannot show '{source}' as a tree", "it is a file", f"pachmount list -l '{source}'")
    shown = _below(snapshot, top.path, depth or sys.maxsize, ())
    if as_json:
        output.json_stream(as_answer(each.file) for each in shown)
        return
    output.line(f"{snapshot}{':' + top.path if top.path != '/' else ''}  {output.size(top.size)}")
    lines = ASCII if ascii_lines or not _can_encode(UNICODE) else UNICODE
    directories = files = size = 0
    for file, is_last in shown:
        directories += file.is_dir
        files += not file.is_dir
        size += 0 if file.is_dir else file.size
        margin = "".join(lines.blank if last else lines.bar for last in is_last[:-1])
        branch = lines.last if is_last[-1] else lines.inner
        output.line(f"{margin}{branch}{file.name}{'/' if file.is_dir else ''}  {output.size(file.size)}")
    counted = f"{output.count(directories, 'directory', 'directories')}, {output.count(files, 'file')}"
    output.line(f"{counted}, {output.size(size)}")


def _below(snapshot: Snapshot, path: str, depth: int, above: tuple[bool, ...]) -> Iterator[Shown]:
    entries = snapshot.scan(path)
    entry = next(entries, None)
    while entry is not None:
        following = next(entries, None)
        is_last = (*above, following is None)
        yield Shown(entry, is_last)
        if entry.is_dir and len(is_last) < depth:
            yield from _below(snapshot, entry.path, depth, is_last)
        entry = following


def _can_encode(lines: Lines) -> bool:
    try:
        "".join(lines).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
