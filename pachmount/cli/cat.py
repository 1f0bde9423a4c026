"""`cat`: the bytes of files, without a mount."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from pachmount.cli.sources import Opener
from pachmount.cli.state import State
from pachmount.errors import UsageError

if TYPE_CHECKING:
    from pachmount.reading import FileInfo, Snapshot

_Wanted = Callable[[int], tuple[int, int | None]]
"""From the size of a file to the bytes that are wanted of it."""
_RANGE = re.compile(r"(?P<first>\d+)-(?P<last>\d*)|(?P<offset>\d+)\+(?P<length>\d+)|-(?P<tail>\d+)")

Sources = Annotated[list[str], typer.Argument(metavar="SOURCE:/PATH", help="Files; PATH may be a glob, in quotes.")]
Range = Annotated[
    str,
    typer.Option(
        "--range",
        "-r",
        metavar="RANGE",
        help="Bytes of each file: FIRST-LAST (both included), FIRST-, OFFSET+LENGTH, or -N for the last N.",
    ),
]


def cat(state: State, sources: Sources, byte_range: Range = "") -> None:
    """Print files of a commit, without a mount.

    \b
    Examples:
      pachmount cat images@master:/labels.csv
      pachmount cat images:/labels.csv --range 0-99     the first 100 bytes
      pachmount cat images:/labels.csv --range 1000+50  50 bytes, from byte 1000
      pachmount cat 'logs@master:/2024/*.csv' | wc -l   all that match, by path

    A glob is as in a pipeline's spec: '*' and '?' stay within a name, '**' does
    not, [a-z], {a,b}. Put it in quotes: a shell would take it for its own.
    Nothing is printed if one of the files is not there.
    """
    wanted = _read_range(byte_range)
    opener = Opener(state)
    files: list[tuple[Snapshot, FileInfo]] = []
    for source in sources:
        snapshot, found = opener.find(source)
        matched = [file for file in found if not file.is_dir]
        if not matched:
            raise UsageError(f"cannot print '{source}'", "it is a directory", f"pachmount list -l '{source}'")
        files += [(snapshot, file) for file in matched]
    for snapshot, file in files:
        write(snapshot, file, *wanted(file.size))


def write(snapshot: Snapshot, file: FileInfo, start: int = 0, end: int | None = None) -> None:
    """Bytes of a file to standard output."""
    for piece in snapshot.pieces(file.path, start, end):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _read_range(text: str) -> _Wanted:
    found = _RANGE.fullmatch(text) if text else None
    if text and found is None:
        raise UsageError(f"invalid range '{text}'", "it is FIRST-LAST, FIRST-, OFFSET+LENGTH or -N")
    if found is None:
        return lambda _size: (0, None)
    if found["tail"]:
        return lambda size: (max(0, size - int(found["tail"])), size)
    end: int | None
    if found["offset"]:
        start = int(found["offset"])
        end = start + int(found["length"])
    else:
        start = int(found["first"])
        end = int(found["last"]) + 1 if found["last"] else None
    if found["last"] and int(found["last"]) < start:
        raise UsageError(f"invalid range '{text}'", "it ends before it begins")
    return lambda _size: (start, end)
