"""`get`: copies of files, without a mount."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachmount.cli import cat, output
from pachmount.cli import options as opt
from pachmount.cli.sources import Opener, path_of
from pachmount.cli.state import State
from pachmount.errors import UsageError

if TYPE_CHECKING:
    from pachmount.reading import FileInfo, Snapshot

STDOUT = "-"

SourcePath = Annotated[
    str, typer.Argument(metavar="SOURCE[:/PATH]", help="A file, a directory, or files that match a glob, in quotes.")
]
Destination = Annotated[
    str | None,
    typer.Argument(
        metavar="DIR|FILE|-", help="Where to; '-': standard output. Default: its name, in the current directory."
    ),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", metavar="", help="Also directories, with all they have.")]
Force = Annotated[bool, typer.Option("--force", "-f", metavar="", help="Replace files that are different.")]


def get(
    state: State,
    source: SourcePath,
    destination: Destination = None,
    recursive: Recursive = False,
    force: Force = False,
    as_json: opt.Json = False,
) -> None:
    """Copy files of a commit, without a mount.

    \b
    Examples:
      pachmount get images@master:/labels.csv         into the current directory
      pachmount get images:/labels.csv old.csv        under another name
      pachmount get -r images:/2024                   a directory, as ./2024
      pachmount get -r images@dev photos            a branch, as ./photos
      pachmount get 'images:/2024/**.png' pngs        what matches
      pachmount get images:/labels.csv - | head -n 1

    What a directory has goes into the one that is named, which is made if
    needed; of a glob, the paths behind its fixed part. A file appears whole or
    not at all. Files that are there and equal (of 1 MB and more: of the same
    size, with the time of the commit) are not fetched again, so that the same
    command goes on where it was interrupted; different ones are replaced with
    --force only.
    'pachmount checkout' makes copies that can be updated.
    """
    snapshot, found = Opener(state).find(source)
    if destination == STDOUT:
        _print(source, snapshot, found)
        return
    into, wanted = _places(state, snapshot, source, found, destination, recursive=recursive)
    from pachmount.copies import get as getting

    with output.progress(enabled=not state.quiet) as bar:

        def show(files: int, total_files: int, size: int, total: int) -> None:
            bar.update(f"{files:,}/{total_files:,} files, {output.size(size)}", size + files, total + total_files)

        got = getting.get(snapshot, into, wanted, force=force, show=show)
    if as_json:
        output.json_answer({"source": str(snapshot), "commit": snapshot.commit, **asdict(got)})
        return
    output.line(f"{source}: {output.count(got.files, 'file')} ({output.size(got.bytes)})")
    if got.found_files:
        state.note(f"there before: {output.count(got.found_files, 'file')} ({output.size(got.found_bytes)})")


def _print(source: str, snapshot: Snapshot, found: list[FileInfo]) -> None:
    if all(file.is_dir for file in found):
        raise UsageError(f"cannot print '{source}'", "it is a directory", "name a directory to put it into")
    for file in found:
        if not file.is_dir:
            cat.write(snapshot, file)


def _places(
    state: State,
    snapshot: Snapshot,
    source: str,
    found: list[FileInfo],
    destination: str | None,
    *,
    recursive: bool,
) -> tuple[Path, dict[str, FileInfo]]:
    """The directory that the files go into, and the path of each below it."""
    from pachmount.globbing import Pattern, is_glob

    if not recursive and all(file.is_dir for file in found):
        raise UsageError(f"cannot copy '{source}'", "it is a directory", f"pachmount get -r '{source}'")
    if is_glob(path_of(source)):
        top, into = Pattern(path_of(source)).top, Path(destination or ".")
    elif found[0].is_dir:
        top, into = found[0].path, Path(destination or found[0].name or snapshot.source.repo)
    else:
        [file] = found
        is_directory = destination is not None and (destination.endswith("/") or Path(destination).is_dir())
        target = Path(destination or ".", file.name) if is_directory else Path(destination or file.name)
        return target.parent, {target.name: file}
    places: dict[str, FileInfo] = {}
    skipped = 0
    for each in found:
        if not each.is_dir:
            places[_below(top, each.path)] = each
        elif recursive:
            below = (file for file in snapshot.walk(each.path) if not file.is_dir)
            places |= {_below(top, file.path): file for file in below}
        else:
            skipped += 1
    if skipped:
        state.note(f"left out {output.count(skipped, 'directory', 'directories')}: -r copies them, too")
    from pachmount.copies.plan import without_own

    wanted, own = without_own(places)
    if own:
        state.note(output.left_out(own))
    return into, {path: places[path] for path in wanted}


def _below(top: str, path: str) -> str:
    return path.removeprefix(top).lstrip("/")
