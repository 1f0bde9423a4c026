"""`list`: projects, repos, branches, commits and files of the connected cluster."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from pachmount import names
from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.sources import Opener, path_of
from pachmount.cli.state import State
from pachmount.errors import UsageError

if TYPE_CHECKING:
    from pachmount.api.schema import FileAnswer
    from pachmount.reading import FileInfo

PAGE = 1000

What = Annotated[
    str | None,
    typer.Argument(
        metavar="WHAT", help="[PROJECT/]REPO, or REPO@BRANCH[:/PATH] for files; PATH may be a glob. Default: all repos."
    ),
]
Projects = Annotated[bool, typer.Option("--projects", metavar="", help="List projects.")]
Commits = Annotated[bool, typer.Option("--commits", metavar="", help="List commits of REPO or REPO@BRANCH.")]
Long = Annotated[bool, typer.Option("--long", "-l", metavar="", help="Files: with type, size and hash.")]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", metavar="", help="Files: also all below.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=0, help="Stop after N entries; 0: list all.")]


def list_(
    state: State,
    what: What = None,
    projects: Projects = False,
    commits: Commits = False,
    long: Long = False,
    recursive: Recursive = False,
    limit: Limit = 0,
    as_json: opt.Json = False,
) -> None:
    """List repos, branches, commits or files.

    \b
    Examples:
      pachmount list                          all repos with their branches
      pachmount list --projects
      pachmount list images                   the branches of a repo
      pachmount list --commits images@master  newest first
      pachmount list images@master            files at the top
      pachmount list -l images@master:/2024   files of a directory, with sizes
      pachmount list -r images@master:/2024   and all that is below it
      pachmount list 'images@master:/2024/*.png'
      pachmount list 'images@master:/**.png'  at any depth

    A bare REPO lists its branches; with '@' or ':' it is a place in the repo
    and its files are listed, one directory at a time. A glob is as in a pipeline's
    spec: '*' and '?' stay within a name, '**' does not, [a-z], {a,b}. Put it in
    quotes: a shell would take it for its own.
    """
    if projects:
        if what or commits:
            raise UsageError("--projects stands alone", hint="pachmount list --help")
        _list_projects(state, limit, as_json)
    elif what is None:
        if commits:
            raise UsageError("--commits needs a repo", hint="pachmount list --commits REPO[@BRANCH]")
        _list_repos(state, limit, as_json)
    elif commits:
        _list_commits(state, what, limit, as_json)
    elif "@" in what or ":" in what:
        _list_files(state, what, limit, long, recursive, as_json)
    else:
        _list_branches(state, what, limit, as_json)


def _list_projects(state: State, limit: int, as_json: bool) -> None:
    found = _first(state.client(start=True).projects(), limit)
    if as_json:
        output.json_answer(found)
    else:
        rows = [[entry.project.name, entry.description or ""] for entry in found]
        output.table(["PROJECT", "DESCRIPTION"], rows)


def _list_repos(state: State, limit: int, as_json: bool) -> None:
    found = _first(state.client(start=True).repos(), limit)
    if as_json:
        output.json_answer(found)
        return
    if not found:
        state.note("there are no repos yet")
        state.hint("'pachmount import DIR REPO' makes one")
        return
    header, rows = ["REPO", "BRANCHES"], []
    for entry in found:
        rows.append([f"{entry.project}/{entry.repo}", ", ".join(entry.branches or []) or "-"])
    if any(entry.authorization != "off" for entry in found):
        header.append("ACCESS")
        for row, entry in zip(rows, found, strict=True):
            row.append(entry.authorization)
    output.table(header, rows)


def _list_branches(state: State, what: str, limit: int, as_json: bool) -> None:
    names.parse_source(what)
    found = _first(state.client(start=True).branches(what), limit)
    if as_json:
        output.json_answer(found)
        return
    if not found:
        state.note(f"'{what}' has no branches yet")
        return
    output.table(["BRANCH", "HEAD"], [[entry.branch, entry.head or "-"] for entry in found])


def _list_commits(state: State, what: str, limit: int, as_json: bool) -> None:
    source = names.parse_source(what)
    if source.commit or source.path:
        raise UsageError(
            "--commits takes a repo or a branch", f"not '{what}'", "pachmount list --commits REPO[@BRANCH]"
        )
    repo = what.partition("@")[0]
    found = _first(state.client(start=True).commits(repo, source.branch, limit), limit)
    if as_json:
        output.json_answer(found)
        return
    if not found:
        state.note(f"'{what}' has no commits yet")
        return
    rows = []
    for entry in found:
        condition = f"{entry.state}, failed: {entry.error}" if entry.error else entry.state
        length = output.size(entry.size_bytes) if entry.state == "finished" else "-"
        row = [entry.commit, entry.branch or "-", output.when(entry.started), length, condition, entry.description]
        rows.append(row)
    output.table(["COMMIT", "BRANCH", "STARTED", "SIZE", "STATE", "MESSAGE"], rows)


def _list_files(state: State, what: str, limit: int, long: bool, recursive: bool, as_json: bool) -> None:
    from pachmount.globbing import is_glob

    names.parse_source(what)
    files: Iterator[FileAnswer]
    if recursive or is_glob(path_of(what)):
        files = islice(map(as_answer, _found(state, what, recursive)), limit or None)
    else:
        files = _files(state, what, limit)
    if as_json:
        output.json_stream(files)
        return
    for entry in files:
        path = entry.path.rstrip("/") + ("/" if entry.type == "dir" else "")
        if long:
            output.line(f"{entry.type:4}  {output.size(entry.size_bytes):>9}  {entry.hash[:16]:16}  {path}")
        else:
            output.line(path)


def _files(state: State, source: str, limit: int) -> Iterator[FileAnswer]:
    """Page by page: a directory of any size is printed while it is listed."""

    def every() -> Iterator[FileAnswer]:
        note = ""
        for page in state.client(start=True).file_pages(source, min(PAGE, limit or PAGE)):
            if page.note != note:
                note = page.note
                state.note(note)
            yield from page.files

    return islice(every(), limit or None)


def _found(state: State, what: str, recursive: bool) -> Iterator[FileInfo]:
    """What matches a glob, or is below a directory; with `recursive` also what is below that which matches."""
    from pachmount.globbing import is_glob

    snapshot, found = Opener(state).find(what)
    for each in found:
        if is_glob(path_of(what)) or not each.is_dir:
            yield each
        if recursive and each.is_dir:
            yield from snapshot.walk(each.path)


def as_answer(file: FileInfo) -> FileAnswer:
    """As GET /files tells it."""
    from pachmount.api.schema import FileAnswer

    return FileAnswer(path=file.path, type=file.type, size_bytes=file.size, hash=file.hash, modified=file.modified)


def _first(found: list[output.T], limit: int) -> list[output.T]:
    return found[:limit] if limit else found
