"""`refresh` and `follow`: the commits that mounts stand on."""

from __future__ import annotations

from typing import Annotated

import typer

from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.mounts import check_commit, find, resolve, tell_unsaved
from pachmount.cli.state import State
from pachmount.errors import UsageError

Off = Annotated[bool, typer.Option("--off", metavar="", help="Stay at the commit that is mounted now.")]
To = Annotated[str, typer.Option("--to", metavar="COMMIT", help="Move to this commit: an id, or such as master^.")]


def refresh(state: State, targets: opt.NamesOrDirs = None, to: To = "", as_json: opt.Json = False) -> None:
    """Move mounts to the newest commit, or to a given one.

    \b
    Examples:
      pachmount refresh images
      pachmount refresh images --to master^    one commit back
      pachmount refresh images --to 5c0e1b2a   any commit, by its id

    A file that a program has open keeps showing the commit it was opened in.
    With --to, a mount that follows its branch does not do so any more.
    """
    if not targets:
        raise UsageError("nothing to refresh", "name one or more mounts", "pachmount mount lists them")
    from pachmount.api.schema import RefreshEntry

    commit = check_commit(to) if to else ""
    client = state.client()
    before = client.status().mounts
    chosen = [resolve(before, target) for target in targets]
    client.refresh([RefreshEntry(name=entry.name, commit=commit) for entry in chosen])
    moved = [(entry, find(client, entry.name)) for entry in chosen]
    if as_json:
        output.json_answer([after for _, after in moved])
        return
    tell_unsaved(state, client)
    for entry, after in moved:
        old, new = entry.commit, after.commit
        if old == new:
            output.line(f"{after.name}: already at {output.short(new)}")
        else:
            output.line(f"{after.name}: {output.short(old)} -> {output.short(new)}")
        if entry.error is not None and entry.error.id == "gone":
            state.note(f"{after.name}: {entry.error.error} — {entry.error.why}")
        if after.note:
            state.note(f"{after.name}: {after.note}")
        if entry.follow and not after.follow:
            state.note(f"{after.name} does not follow {after.branch} any more")
            state.hint(f"'pachmount follow {after.name}' moves it to the newest commit and turns that on again")


def follow(state: State, targets: opt.NamesOrDirs = None, off: Off = False, as_json: opt.Json = False) -> None:
    """Let mounts move along with their branches, or stay.

    \b
    Examples:
      pachmount follow images          to the newest commit, now and from now on
      pachmount follow images --off    stay where it is

    A file that a program has open keeps showing the commit it was opened in.
    A commit that is not finished, or has an error, is passed over.
    """
    if not targets:
        raise UsageError("nothing to follow", "name one or more mounts", "pachmount mount lists them")
    client = state.client()
    before = client.status().mounts
    chosen = [resolve(before, target) for target in targets]
    client.follow([entry.name for entry in chosen], on=not off)
    changed = [find(client, entry.name) for entry in chosen]
    if as_json:
        output.json_answer(changed)
        return
    tell_unsaved(state, client)
    for entry in changed:
        follows = f"follows {entry.branch}, at" if entry.follow else "stays at"
        output.line(f"{entry.name}: {follows} {output.short(entry.commit)}")
        if entry.note:
            state.note(f"{entry.name}: {entry.note}")
