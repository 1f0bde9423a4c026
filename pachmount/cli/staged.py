"""`staged list|export|repair|discard`: staged changes, whatever became of their mount, repo, commit or cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachmount import paths
from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.app import App
from pachmount.cli.state import State
from pachmount.errors import DaemonNotRunningError, DaemonUnreachableError, NotFoundError, PachmountError, UsageError

if TYPE_CHECKING:
    from pachmount.api.schema import StagedEntry
    from pachmount.client import DaemonClient
    from pachmount.names import Source

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the mount that was changed.")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A directory that is new or empty.")]
PAGE = 1000


def build() -> App:
    """The commands of the group."""
    app = App(help="Changes that are staged: see, save or give them up.")
    app.add(list_, "list")
    app.add(export, "export")
    app.add(repair, "repair")
    app.add(discard, "discard")
    return app


def list_(state: State, as_json: opt.Json = False) -> None:
    """List what is staged, mounted or not.

    \b
    Examples:
      pachmount staged list
      pachmount staged list --json

    It works without a daemon, without FUSE and without the cluster. COMMIT tells whether the commit that was
    changed is still there: 'there', 'gone', or '-' when that cannot be found out.
    """
    entries = _entries(state)
    if as_json:
        output.json_answer(entries)
        return
    if not entries:
        output.line("nothing is staged")
        return
    rows = [
        [each.name, each.source or "-", _what(each), output.when(each.since), _mount(each), each.commit_state or "-"]
        for each in entries
    ]
    output.table(["NAME", "SOURCE", "STAGED", "SINCE", "MOUNT", "COMMIT"], rows)
    for each in entries:
        if each.damaged:
            output.line(f"{each.name}: {each.damaged}", "yellow")
    first = entries[0].name
    state.hint(f"'pachmount diff {first}' shows them, 'pachmount staged export {first} DIR' saves them")


def _what(entry: StagedEntry) -> str:
    if entry.damaged:
        return "damaged"
    return f"{output.count(entry.changes, 'change')}, {output.size(entry.bytes)}"


def _mount(entry: StagedEntry) -> str:
    return {"": "not mounted", "rw": "read-write", "ro": "read-only"}[entry.mounted]


def export(state: State, name: Name, directory: Directory, as_json: opt.Json = False) -> None:
    """Write staged changes as files into a directory.

    \b
    Examples:
      pachmount staged export images ./images-staged

    DIR/files has every file of which all bytes are known: staged, or readable from the commit that was changed.
    DIR/partial has the others, with zeros where bytes are missing. DIR/manifest.json lists all changes with what was
    deleted and renamed, and what is missing. What is staged stays staged. It works without FUSE and without the
    cluster.
    """
    from pachmount.overlay.exporting import export as write
    from pachmount.overlay.staged_work import StagedWork

    if paths.daemon_url():
        why = "they are in the container of the daemon"
        raise UsageError(
            "staged changes cannot be exported from here", why, f"there: pachmount staged export {name} DIR"
        )
    work = StagedWork.read(_place(state, name))
    target = Path(os.path.abspath(directory))
    client = _running(state)
    with output.waiting("exporting", enabled=not state.quiet):
        result = write(work, target, None if client is None or work.source is None else _Commit(client, work.source))
    if as_json:
        output.json_answer(asdict(result))
        return
    whole = result.files - result.partial
    output.line(f"{name}: {output.count(whole, 'whole file')} in {target / 'files'}")
    if result.deleted:
        state.note(f"{output.count(result.deleted, 'deleted path')} listed in {target / 'manifest.json'}")
    if result.missing:
        output.line(f"{output.count(len(result.missing), 'path')} with bytes missing: {result.why}", "yellow")
        for path in result.missing[:10]:
            output.line(f"  {path}", "yellow")
        state.note(f"what is there of them is in {target / 'partial'}, what is missing in {target / 'manifest.json'}")
        if client is None:
            state.hint(f"'pachmount daemon start', then export again: the bytes may be in {work.source}")
    state.note("all of it stays staged")
    state.hint(f"'pachmount staged discard {name}' gives up what is staged")


def repair(state: State, name: Name, as_json: opt.Json = False) -> None:
    """Restore damaged staged changes, as far as it can be proven what they were.

    \b
    Examples:
      pachmount staged repair images

    Names come from the ledger, which has every change with a checksum. What is damaged, and bytes that no name is
    known for, go to lost+found beside the staged changes; nothing is removed. The mount must not be mounted
    read-write meanwhile.
    """
    from pachmount.overlay.repair import repair as mend

    if paths.daemon_url():
        why = "they are in the container of the daemon"
        raise UsageError("staged changes cannot be repaired from here", why, f"there: pachmount staged repair {name}")
    place = _place(state, name)
    with output.waiting("repairing", enabled=not state.quiet):
        report = mend(place)
    if as_json:
        output.json_answer(asdict(report))
        return
    if not report.restored and not report.lost:
        output.line(f"{name}: nothing had to be repaired")
    for each in report.restored:
        output.line(f"{name}: restored {each}")
    for each in report.lost:
        output.line(f"{name}: not restored: {each}", "yellow")
    if report.place:
        state.note(f"what was damaged is in {report.place}")
    state.hint(f"'pachmount diff {name}' shows what is staged")


def discard(state: State, name: Name, yes: opt.Yes = False, as_json: opt.Json = False) -> None:
    """Give up all that is staged under a name, mounted or not.

    \b
    Examples:
      pachmount staged discard images

    A mount of that name shows its commit again.
    """
    found = next((each for each in _entries(state) if each.name == name), None)
    if found is None:
        raise _none(state, name)
    if not state.confirm(f"Give up {_what(found)} of {name}? They cannot be brought back.", yes=yes):
        raise PachmountError("nothing was discarded", "the answer was no")
    state.client(start=True).discard_staged(name)
    if as_json:
        output.json_answer({"discarded": found.model_dump()})
        return
    output.line(f"{name}: discarded {_what(found)}")


def _entries(state: State) -> list[StagedEntry]:
    """What the daemon knows, or without one what is on the disk."""
    client = _running(state)
    if client is not None:
        return client.staged()
    from pachmount.api.schema import StagedEntry
    from pachmount.overlay.staged_work import looks

    return [StagedEntry(**asdict(each)) for each in looks(state.places.staged)]


def _running(state: State) -> DaemonClient | None:
    try:
        client = state.client()
        client.health()
    except (DaemonNotRunningError, DaemonUnreachableError):
        if paths.daemon_url():
            raise
        return None
    return client


def _place(state: State, name: str) -> Path:
    """The staged directory of a name. NotFoundError."""
    names = [each.name for each in _entries(state)]
    for known in names:
        if known == name:
            return state.places.staged / known
    raise _none(state, name)


def _none(state: State, name: str) -> NotFoundError:
    known = ", ".join(each.name for each in _entries(state))
    why = f"there are changes of: {known}" if known else "nothing is staged"
    return NotFoundError(f"no staged changes under the name '{name}'", why, "pachmount staged list")


class _Commit:
    """The commit that was changed, as the daemon can read it from the cluster or its cache."""

    def __init__(self, client: DaemonClient, source: Source) -> None:
        self._client = client
        self._source = f"{source.project}/{source.repo}@{source.commit}"

    def files(self, directory: str) -> Iterator[tuple[str, int]]:
        rest = [directory]
        while rest:
            place = rest.pop()
            for page in self._client.file_pages(f"{self._source}:{place}", PAGE):
                for entry in page.files:
                    if entry.type == "dir":
                        rest.append(entry.path.rstrip("/"))
                    else:
                        yield entry.path, entry.size_bytes

    def read(self, path: str, start: int, end: int) -> Iterator[bytes]:
        return self._client.content(f"{self._source}:{path}", start=start, end=end)
