"""How far the commit of a mount is, shown while the daemon makes it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pachmount.cli import output
from pachmount.cli.state import State
from pachmount.errors import PachmountError

if TYPE_CHECKING:
    from pachmount.api.schema import CommitRequest, CommittedAnswer, StagedStatus
    from pachmount.client import DaemonClient

LOOK_SECONDS = 0.2
FILE_COST = 16 << 10
"""Bytes that a file counts for in the progress bar beside its own: small files take their time, too."""


def commit(state: State, client: DaemonClient, request: CommitRequest) -> CommittedAnswer:
    """Have a mount committed, and show how far it is meanwhile."""
    with output.progress(enabled=not state.quiet) as bar:
        return _watched(state, bar, client, request)


def _watched(state: State, bar: output.Bar, client: DaemonClient, request: CommitRequest) -> CommittedAnswer:
    name = request.mount
    done = threading.Event()
    watcher = threading.Thread(target=_look, args=(state, bar, name, done), daemon=True)
    if bar.visible:
        watcher.start()
    try:
        return client.commit(request)
    finally:
        done.set()
        if bar.visible:
            watcher.join(LOOK_SECONDS * 10)


def _look(state: State, bar: output.Bar, name: str, done: threading.Event) -> None:
    try:
        with state.client() as client:  # a connection of its own: the other one waits for its answer
            while not done.wait(LOOK_SECONDS):
                for entry in client.status().mounts:
                    if entry.name == name and entry.staged is not None and entry.staged.committing:
                        _show(bar, entry.staged)
    except PachmountError:
        return  # the request itself says what is wrong


def _show(bar: output.Bar, staged: StagedStatus) -> None:
    files = f"{staged.committing_files:,}/{staged.committing_total_files:,} files"
    sizes = f"{output.size(staged.committing_bytes)} of {output.size(staged.committing_total_bytes)}"
    texts = {
        "compare": "comparing",
        "upload": f"committing {files}, {sizes}",
        "finish": f"finishing {files}, {output.size(staged.committing_total_bytes)}",
    }
    done = staged.committing_bytes + staged.committing_files * FILE_COST
    total = staged.committing_total_bytes + staged.committing_total_files * FILE_COST
    bar.update(texts[staged.committing], done, max(total, 1))
