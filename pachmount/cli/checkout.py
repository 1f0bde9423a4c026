"""`checkout`: a directory with a copy of a commit, moved along by what differs."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.state import State
from pachmount.errors import UsageError

Source = Annotated[
    str | None,
    typer.Argument(metavar="SOURCE", help="[PROJECT/]REPO[@BRANCH|@COMMIT][:/PATH].", show_default=False),
]
Directory = Annotated[
    Path | None,
    typer.Argument(metavar="DIR", help="Where to: new, empty, or a checkout of the repo.", show_default=False),
]
Update = Annotated[
    bool,
    typer.Option("--update", "-u", metavar="", help="Move the checkout in DIR (default: here) to its branch's head."),
]
Force = Annotated[bool, typer.Option("--force", "-f", metavar="", help="Replace and remove files that were changed.")]
Link = Annotated[
    bool,
    typer.Option("--link", metavar="", help="Large files take no room beside the cache (on btrfs and XFS)."),
]


def checkout(
    state: State,
    source: Source = None,
    directory: Directory = None,
    update: Update = False,
    force: Force = False,
    link: Link = False,
    as_json: opt.Json = False,
) -> None:
    """Copy a commit into a directory, without a mount, and keep it up to date.

    \b
    Examples:
      pachmount checkout images ./images       the newest commit of master
      pachmount checkout images@dev ./images   the same, another branch
      pachmount checkout images:/2024 ./2024   one directory of it
      pachmount checkout --update ./images     to the head of its branch
      pachmount checkout --link images ./i     on btrfs or XFS: no second copy

    Only contents that are not there yet are fetched; a file that was moved or
    copied is copied on the disk (as a clone where the file system can). Files
    that went away are removed, other files in DIR stay. Files that were changed
    here are never lost: they are listed and nothing is done, unless --force is
    given. After an interruption the same command goes on where it stopped.
    With --link, what is fetched shares its blocks with the cache, as far as that
    holds it: change a file, and only what was changed takes room.
    DIR/.pachmount-checkout.json tells what the directory holds.
    """
    from pachmount.cli.cache import opened
    from pachmount.clients import Clients
    from pachmount.copies import checkout as checking
    from pachmount.reading import Snapshot

    if update:
        if source is not None and directory is not None:
            raise UsageError(
                "--update takes no SOURCE", "the directory knows its own", "pachmount checkout --update DIR"
            )
        directory = Path(source or ".")
        asked = str(checking.followed(directory))
    elif source is None or directory is None:
        raise UsageError("a SOURCE and a DIR are needed", "", "pachmount checkout --help")
    else:
        asked = source
    state.client(start=True)
    snapshot = Snapshot(Clients(lambda: state.client()), asked)
    if snapshot.note:
        state.note(snapshot.note)
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(opened(state))[1] if link else None
        bar = stack.enter_context(output.progress(enabled=not state.quiet))

        def show(what: str, files: int, total_files: int, size: int, total: int) -> None:
            of_all = f"/{total_files:,}" if total_files else ""
            text = f"{what}, {files:,}{of_all} files, {output.size(size)}"
            bar.update(text, size + files if total_files else 0, max(1, total + total_files))

        followed = checking.follows(snapshot, asked)
        done = checking.check_out(snapshot, followed, directory.absolute(), force=force, show=show, cache=cache)
    if as_json:
        output.json_answer(asdict(done))
        return
    output.line(f"{directory}: {snapshot}, {output.count(done.files, 'file')} ({output.size(done.bytes)})")
    parts = [f"fetched {output.count(done.fetched_files, 'file')} ({output.size(done.fetched_bytes)})"]
    parts += [f"copied {done.copied_files:,} here"] if done.copied_files else []
    parts += [f"removed {done.removed_files:,}"] if done.removed_files else []
    parts += [f"{output.size(done.shared_bytes)} of it shared with the cache"] if link else []
    state.note(", ".join(parts))
    for note in done.notes:
        state.note(note)
    if done.left_out:
        state.note(output.left_out(done.left_out))
