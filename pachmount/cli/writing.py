"""`diff`, `commit`, `discard` and `remount`: the staged changes of read-write mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pachmount.cli import committing, output
from pachmount.cli import options as opt
from pachmount.cli.mounts import find, resolve, tell_unsaved
from pachmount.cli.state import State
from pachmount.errors import NotFoundError, PachmountError, UsageError
from pachmount.names import parse_source

if TYPE_CHECKING:
    from pachmount.api.schema import CommittedAnswer, DiffAnswer, MountStatus
    from pachmount.client import DaemonClient

Target = Annotated[str, typer.Argument(metavar="NAME|DIR", help="A read-write mount, by name or by directory.")]
Changed = Annotated[str, typer.Argument(metavar="NAME|DIR", help="A mount, or the name under which changes are kept.")]
NO_CHANGES = {"changes": [], "refused": [], "ignored": [], "empty_directories": [], "open_for_writing": [], "patch": ""}

Paths = Annotated[
    list[str] | None, typer.Argument(metavar="PATH", help="Paths in the mount. Default: all.", show_default=False)
]
Message = Annotated[str, typer.Option("--message", "-m", metavar="TEXT", help="The message of the commit.")]
Branch = Annotated[
    str, typer.Option("--branch", "-b", metavar="BRANCH", help="Commit to another or a new branch, and go on there.")
]
AllowOpen = Annotated[
    bool, typer.Option("--allow-open", metavar="", help="Commit files that are open for writing as they are now.")
]
SkipInvalid = Annotated[
    bool, typer.Option("--skip-invalid", metavar="", help="Leave staged what a cluster cannot store.")
]
Ours = Annotated[bool, typer.Option("--ours", metavar="", help="Replace newer versions of the same files.")]
Theirs = Annotated[
    list[str] | None,
    typer.Option("--theirs", metavar="PATH", help="Take the newer version of this path; may be given again."),
]
To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="SOURCE",
        help="Commit into another [PROJECT/]REPO[@BRANCH], made if needed; no mount is needed.",
    ),
]
Writable = Annotated[bool, typer.Option("--rw", metavar="", help="Let files be changed.")]
ReadOnly = Annotated[bool, typer.Option("--ro", metavar="", help="Let nothing be changed any more.")]
Ignored = Annotated[bool, typer.Option("--ignored", metavar="", help="Show what stays local as well.")]
Patch = Annotated[bool, typer.Option("--patch", "-p", metavar="", help="Show the lines that changed, as git does.")]


def diff(
    state: State,
    target: Changed,
    paths: Paths = None,
    patch: Patch = False,
    ignored: Ignored = False,
    as_json: opt.Json = False,
) -> None:
    """Show what a commit of a read-write mount would change.

    \b
    Examples:
      pachmount diff images
      pachmount diff images /labels.csv --patch
      pachmount diff images --json

    A added, M modified, D deleted, R renamed; '!' cannot be committed. What stays local ('I'): new files
    that match a pattern of .pachignore in the mount (as .gitignore), of the file 'ignore' beside the
    configuration, or a default (editors' backups, __pycache__, …); empty directories, since a commit
    holds only files. It also shows changes that are kept without a read-write mount.
    """
    client = state.client(start=True)
    name, entry = _named(client, target)
    found = client.diff(name, [_in_mount(entry, path) for path in paths or []], patch=patch)
    if as_json:
        output.json_answer(found)
        return
    if patch:
        output.text(found.patch)
        return
    _show(state, found, ignored=ignored)
    if found.without_commit:
        state.note(f"not compared with the commit: {found.without_commit}")
        state.hint(f"'pachmount staged export {name} {name}-staged' saves them as files")


def _show(state: State, found: DiffAnswer, *, ignored: bool) -> None:
    for change in found.changes:
        name = f"{change.old_path} -> {change.path}" if change.kind == "R" else change.path
        sizes = {
            "A": output.size(change.size_bytes),
            "M": f"{output.size(change.old_size_bytes)} -> {output.size(change.size_bytes)}",
            "D": output.size(change.old_size_bytes),
            "R": output.size(change.size_bytes),
        }
        is_unknown = found.without_commit and not change.size_bytes and change.kind != "A"
        output.line(f"{change.kind} {name}" + ("" if is_unknown else f"  ({sizes[change.kind]})"))
    for refused in found.refused:
        output.line(f"! {refused.path}  ({refused.reason})", "yellow")
    if ignored:
        for path in found.ignored:
            output.line(f"I {path}")
    elif found.ignored:
        state.note(f"{output.count(len(found.ignored), 'ignored path')} not shown: --ignored shows them")
    for path in found.empty_directories:
        state.note(f"{path}/ is empty and stays local: a commit holds only files")
    for path in found.open_for_writing:
        state.note(f"{path} is open for writing")
    if not (found.changes or found.refused):
        state.note("no changes")


def commit(
    state: State,
    target: Changed,
    message: Message = "",
    branch: Branch = "",
    allow_open: AllowOpen = False,
    skip_invalid: SkipInvalid = False,
    ours: Ours = False,
    theirs: Theirs = None,
    to: To = "",
    as_json: opt.Json = False,
) -> None:
    """Commit what is staged in a read-write mount.

    \b
    Examples:
      pachmount commit images -m "relabel"
      pachmount commit images --branch relabelled  to a new branch
      pachmount commit images --theirs /a.csv      both changed it: take theirs
      pachmount commit images --to saved@mine      into another repo

    One commit with exactly the changes that 'pachmount diff' shows; the mount stands on it afterwards.
    If somebody else changed the same files since, nothing is committed and nothing is lost. Without
    changes there is no commit. With --to the changes go into another repo or branch as whole files, over
    what is there, and are staged no more; the mount stays on its commit. That also works when the commit
    that was changed is gone or on another cluster: files that need bytes of it are named, and refused.
    """
    from pachmount.api.schema import CommitRequest

    if ours and theirs:
        raise UsageError("--ours and --theirs given", "they say the opposite", "choose one of them")
    if to and (branch or ours or theirs):
        raise UsageError("--to cannot be combined with --branch, --ours or --theirs", "it replaces what is there")
    client = state.client(start=bool(to))
    name, entry = _named(client, target)
    request = CommitRequest(
        mount=name,
        message=message,
        branch=branch,
        allow_open=allow_open,
        skip_invalid=skip_invalid,
        ours=ours,
        theirs=[_in_mount(entry, path) for path in theirs or []],
        to=to,
    )
    if to:
        parse_source(to)
        _committed_to(state, name, to, committing.commit(state, client, request), as_json)
        return
    if entry is None or entry.mode != "rw":
        raise _not_writable(client, name, entry)
    made = committing.commit(state, client, request)
    after = find(client, entry.name)
    if as_json:
        output.json_answer(after)
        return
    _report(state, entry, after, made)
    tell_unsaved(state, client)


def _report(state: State, before: MountStatus, after: MountStatus, made: CommittedAnswer) -> None:
    if not made.commit:
        output.line(f"{after.name}: nothing to commit")
        return
    where = f"{after.project}/{after.repo}@{after.branch}={made.commit}"
    what = f"committed {output.count(made.changes, 'change')}" if made.changes else "was committed before,"
    output.line(f"{after.name}: {what} as {where}")
    if after.branch != before.branch:
        state.note(f"{after.name} is on branch {after.branch} now")


def _committed_to(state: State, name: str, to: str, made: CommittedAnswer, as_json: bool) -> None:
    if as_json:
        output.json_answer({**made.model_dump(include={"commit", "changes", "still_staged"}), "to": to})
        return
    if not made.commit:
        output.line(f"{name}: nothing to commit")
        return
    output.line(f"{name}: committed {output.count(made.changes, 'change')} into {to} as {made.commit}")
    if made.still_staged:
        state.note(f"all changes stay staged under {name}, since some were left out or made meanwhile")
        state.hint(f"'pachmount diff {name}' shows them, 'pachmount staged discard {name} --yes' gives them up")
    else:
        state.note(f"nothing is staged under {name} any more")


def _not_writable(client: DaemonClient, name: str, entry: MountStatus | None) -> PachmountError:
    if all(each.name != name for each in client.staged()):
        source = entry.source if entry is not None else "SOURCE"
        why = "it was mounted read-only"
        return UsageError(f"mount '{name}' has no staged changes", why, f"pachmount mount {source} --rw")
    how = "read-only" if entry is not None else "not mounted"
    what = f"what is staged under '{name}' cannot be committed to its branch now"
    hint = f"'pachmount commit {name} --to REPO@BRANCH' commits it elsewhere; "
    remount = f"'pachmount remount {name} --rw' brings it back; " if entry is not None else ""
    saves = f"'pachmount staged export {name} {name}-staged' saves it"
    return UsageError(what, f"it is {how}", remount + hint + saves)


def discard(
    state: State, target: Changed, paths: Paths = None, yes: opt.Yes = False, as_json: opt.Json = False
) -> None:
    """Give up staged changes, of a read-write mount or kept without one.

    \b
    Examples:
      pachmount discard images /labels.csv    one file or directory
      pachmount discard images --yes          everything
    """
    client = state.client(start=True)
    name, entry = _named(client, target)
    what = ", ".join(paths) if paths else "all staged changes"
    if not state.confirm(f"Give up {what} of {name}? They cannot be brought back.", yes=yes):
        raise PachmountError("nothing was discarded", "the answer was no")
    given_up = client.diff(name) if not paths else None
    client.discard(name, [_in_mount(entry, path) for path in paths or []])
    if as_json:
        output.json_answer(client.diff(name) if entry is not None and entry.mode == "rw" else NO_CHANGES)
        return
    number = f" ({output.count(len(given_up.changes) + len(given_up.refused), 'change')})" if given_up else ""
    output.line(f"{name}: discarded {what}{number}")


def remount(
    state: State, target: Target, writable: Writable = False, read_only: ReadOnly = False, as_json: opt.Json = False
) -> None:
    """Make a mount read-write or read-only.

    \b
    Examples:
      pachmount remount images --rw
      pachmount remount images --ro    what is staged is kept for --rw

    It stays on its commit. Files that are open keep what they are; none may be open for writing.
    """
    if writable == read_only:
        raise UsageError("nothing to change" if not writable else "--rw and --ro given", hint="give --rw or --ro")
    client = state.client()
    entry = resolve(client.status().mounts, target)
    client.remount([entry.name], "rw" if writable else "ro")
    after = find(client, entry.name)
    if as_json:
        output.json_answer(after)
        return
    output.line(f"{after.name}: {'read-write' if writable else 'read-only'} at {output.short(after.commit)}")
    tell_unsaved(state, client)
    if entry.staged is not None and entry.staged.files and read_only:
        state.note(f"{output.count(entry.staged.files, 'staged file')} kept: 'pachmount remount {after.name} --rw'")


def _named(client: DaemonClient, target: str) -> tuple[str, MountStatus | None]:
    """The name under which something is staged, and its mount, if there is one. NotFoundError."""
    mounted = client.status().mounts
    try:
        entry = resolve(mounted, target)
    except NotFoundError as error:
        kept = [each.name for each in client.staged()]
        if target in kept:
            return target, None
        if kept:
            error.why += f"; changes are kept under: {', '.join(kept)}"
        raise
    return entry.name, entry


def _in_mount(entry: MountStatus | None, path: str) -> str:
    """A path in the mount, which may have been given as one of the file system."""
    if entry is None:
        return path
    return path[len(entry.mountpoint) :] or "/" if f"{path}/".startswith(f"{entry.mountpoint}/") else path
