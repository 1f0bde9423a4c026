"""`warmup`: bring files into the cache before they are read."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from pachmount import errors, names
from pachmount.cli import mounts, output
from pachmount.cli import options as opt
from pachmount.cli.state import State
from pachmount.errors import DaemonUnreachableError, NotFoundError, PachmountError, UsageError

if TYPE_CHECKING:
    from pachmount.api.schema import MountStatus, WarmupEntry, WarmupStatus
    from pachmount.client import DaemonClient

FIRST_PAUSE = 0.05
LOOK_SECONDS = 0.2
FILE_COST = 16 << 10
"""Bytes that a file counts for in the progress bar beside its own: small files take their time, too."""

Targets = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME[:/PATH]", help="Mounts, whole or in part, or their directories.", show_default=False),
]


def warmup(state: State, targets: Targets = None, as_json: opt.Json = False) -> None:
    """Bring files into the cache, so that reading them needs no cluster.

    \b
    Examples:
      pachmount warmup images                       everything in it
      pachmount warmup images:/2024 images:/2025    two directories
      pachmount warmup /pfs/images/2024             the same by its directory
      pachmount warmup images labels --json

    What is in the cache already is not fetched again: a warm-up that was
    interrupted goes on where it stopped. It fails before it fetches anything
    if the cache is too small.
    """
    if not targets:
        raise UsageError("nothing to warm up", "name one or more mounts", "pachmount mount lists them")
    client = state.client()
    mounted = client.status().mounts
    begun = client.warm_up([_wanted(mounted, target) for target in targets])
    try:
        ended = _watch(state, client, begun)
    except KeyboardInterrupt:
        with state.client() as other:  # the first connection may be in the middle of an answer
            other.cancel_warmup(begun.id)
        state.note("stopped; the same command goes on from here")
        raise
    if ended.error is not None:
        raise errors.from_dict(ended.error.model_dump())
    if ended.state == "cancelled":
        raise PachmountError("the warm-up was cancelled", "by another command", "the same command goes on from here")
    if as_json:
        output.json_answer(ended)
    else:
        _report(state, ended)


def _wanted(mounted: list[MountStatus], target: str) -> WarmupEntry:
    """`name`, `name:/path`, a mount's directory, or a path below it."""
    from pachmount.api.schema import WarmupEntry

    name, colon, path = target.partition(":")
    if colon:
        entry = mounts.resolve(mounted, name)
        return WarmupEntry(name=entry.name, paths=[names.normalize_path(path) or "/"])
    try:
        return WarmupEntry(name=mounts.resolve(mounted, target).name)
    except NotFoundError:
        below = os.path.abspath(target)
        for entry in mounted:
            if below.startswith(f"{entry.mountpoint}/"):
                return WarmupEntry(name=entry.name, paths=[below.removeprefix(entry.mountpoint)])
        raise


def _watch(state: State, client: DaemonClient, begun: WarmupStatus) -> WarmupStatus:
    """Show how far it is until it has ended; the last that is known of it."""
    shown, pause = begun, FIRST_PAUSE
    with output.progress(enabled=not state.quiet) as bar:
        while shown.ended is None:
            time.sleep(pause)
            pause = min(LOOK_SECONDS, 2 * pause)
            found = [warmup for warmup in client.warmups() if warmup.id == begun.id]
            if not found or found[0].started != begun.started:
                raise DaemonUnreachableError("the warm-up is lost", "the daemon was restarted", "run the command again")
            [shown] = found
            total = shown.total_bytes + shown.total_files * FILE_COST
            bar.update(_text(shown), shown.done_bytes + shown.done_files * FILE_COST, total)
    return shown


def _text(shown: WarmupStatus) -> str:
    if shown.state == "listing":
        return f"listing, {shown.total_files:,} files"
    seconds = max(0.1, time.time() - shown.started)
    rate = output.size(int((shown.done_bytes - shown.found_bytes) / seconds))
    files = f"{shown.done_files:,}/{shown.total_files:,} files"
    return f"{files}, {output.size(shown.done_bytes)} of {output.size(shown.total_bytes)}, {rate}/s"


def _report(state: State, ended: WarmupStatus) -> None:
    which = ", ".join(ended.mounts)
    files = output.count(ended.total_files, "file")
    output.line(f"{which}: {files} ({output.size(ended.total_bytes)}) in the cache")
    if ended.found_files:
        state.note(f"there before: {output.count(ended.found_files, 'file')} ({output.size(ended.found_bytes)})")
