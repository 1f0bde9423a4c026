"""`mount` and `unmount`."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Annotated

import typer

from pachmount import names
from pachmount.cli import options as opt
from pachmount.cli import output, views
from pachmount.cli.state import State
from pachmount.errors import (
    BusyError,
    CannotMountError,
    DaemonNotRunningError,
    InternalError,
    NotFoundError,
    PachmountError,
    UsageError,
)

if TYPE_CHECKING:
    from pachmount.api.schema import AtUnmount, MountEntry, MountStatus
    from pachmount.client import DaemonClient

Source = Annotated[
    str | None,
    typer.Argument(metavar="SOURCE", help="[PROJECT/]REPO[@BRANCH|@COMMIT][:/PATH]; without one: list the mounts."),
]
Directory = Annotated[
    str | None,
    typer.Argument(metavar="DIR", help="An empty directory to mount at. Default: NAME in the mount directory."),
]
Name = Annotated[str, typer.Option("--name", "-n", metavar="NAME", help="The mount's name. Default: the repo's name.")]
Commit = Annotated[
    str,
    typer.Option(
        "--commit", "-c", metavar="COMMIT", help="Mount this commit (an id, or such as master^) and stay there."
    ),
]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", metavar="", help="Move along when the branch gets a new commit.")
]
Writable = Annotated[
    bool, typer.Option("--rw", metavar="", help="Let files be changed; 'pachmount commit' makes a commit of that.")
]
Discard = Annotated[bool, typer.Option("--discard", metavar="", help="Give up staged changes instead of committing.")]
Keep = Annotated[bool, typer.Option("--keep", metavar="", help="Keep staged changes for the next mount of that name.")]
Message = Annotated[str, typer.Option("--message", "-m", metavar="TEXT", help="The message of the commit.")]
All = Annotated[
    bool, typer.Option("--all", "-a", metavar="", help="Unmount everything in the mount directory and beside it.")
]


def mount(
    state: State,
    source: Source = None,
    directory: Directory = None,
    name: Name = "",
    commit: Commit = "",
    follow: Follow = False,
    writable: Writable = False,
    as_json: opt.Json = False,
) -> None:
    """Mount a repository's files, or list the mounts.

    \b
    Examples:
      pachmount mount images                    the newest commit of master
      pachmount mount photos/images@dev         a branch, in another project
      pachmount mount images@dev --name dev     at /pfs/dev
      pachmount mount images:/2024 ~/data/2024  one directory, somewhere else
      pachmount mount images --commit master^   the commit before the newest
      pachmount mount images --follow           always the newest commit
      pachmount mount images --rw               to change files and commit them
      pachmount mount                           list the mounts

    Without --rw the files are read-only. They stay as they are when the branch
    moves on; 'pachmount refresh' moves the mount to the newest commit, and with
    --follow it moves by itself. A file that a program has open stays as it is
    even then. Changes in a mount with --rw are staged on the local disk until
    'pachmount commit'.
    """
    if source is None:
        if directory or name or commit or follow or writable:
            raise UsageError("nothing to mount", "a SOURCE is missing", "pachmount mount --help")
        _list_mounts(state, as_json)
        return
    entry = entry_of(source, directory, name, commit)
    if follow:
        _refuse_to_follow_a_commit(entry)
        entry.follow = True
    if writable:
        if follow:
            why = "what is staged stands on one commit"
            raise UsageError("a read-write mount cannot follow its branch", why, "leave out one of the two")
        entry.mode = "rw"
    client = state.client(start=True)
    client.mount([entry])
    mounted = find(client, entry.name)
    if mounted.state != "mounted":
        raise CannotMountError(f"cannot mount '{source}'", mounted.status or mounted.state, "pachmount status")
    if as_json:
        output.json_answer(mounted)
        return
    follows = f", follows {mounted.branch}" if mounted.follow else ", read-write" if writable else ""
    output.line(f"{mounted.name}: {views.source_text(mounted)} mounted at {mounted.mountpoint}{follows}")
    tell_unsaved(state, client)
    if mounted.note:
        state.note(mounted.note)
    if mounted.error is not None:
        state.note(f"{mounted.error.error} — {mounted.error.why}")
        state.hint(mounted.error.hint)
    if mounted.path and mounted.listing == "complete" and not mounted.files:
        state.note(f"it is empty: this commit has nothing at {mounted.path}")
    if mounted.staged is not None and mounted.staged.files:
        number = output.count(mounted.staged.files, "staged file")
        state.note(f"with {number} of before: 'pachmount diff {mounted.name}' shows them")
    state.hint(f"ls {mounted.mountpoint}; 'pachmount unmount {mounted.name}' ends it")


def entry_of(source: str, directory: str | None = None, name: str = "", commit: str = "") -> MountEntry:
    """What to ask the daemon for to have a source mounted, read-only; raises UsageError."""
    from pachmount.api.schema import MountEntry

    parsed = names.parse_source(source)
    if commit:
        if parsed.commit:
            raise UsageError("two commits given", f"'{parsed.commit}' in the source and --commit {commit}")
        parsed = parsed.at(check_commit(commit))
    return MountEntry(
        name=names.check_mount_name(name or parsed.repo),
        project=parsed.project if has_project(source) else "",
        repo=parsed.repo,
        branch=parsed.branch,
        commit=parsed.commit,
        path=parsed.path,
        mode="ro",
        mountpoint=os.path.abspath(directory) if directory else "",
    )


def _refuse_to_follow_a_commit(entry: MountEntry) -> None:
    if entry.commit:
        branch = entry.branch or names.ancestry_branch(entry.commit) or "BRANCH"
        project = f"{entry.project}/" if entry.project else ""
        why = f"'{entry.commit}' names one commit, and a mount of it stays there"
        hint = f"pachmount mount {project}{entry.repo}@{branch} --follow"
        raise UsageError("only the mount of a branch can follow it", why, hint)


def has_project(source: str) -> bool:
    """Whether the project is in the source; else the daemon takes the context's."""
    return "/" in source.partition("@")[0].partition(":")[0]


def check_commit(commit: str) -> str:
    """`commit` if it can name a commit: an id or an ancestry such as `master^2`; raises UsageError."""
    probe = names.parse_source(f"repo@{commit}")
    is_prefix = not probe.commit and names.is_commit_prefix(probe.branch)
    if probe.path or not (is_prefix or (probe.commit and not probe.branch)):
        why = "a commit is an id (or its first 8 or more hex digits) or an ancestry such as master^"
        raise UsageError(f"'{commit}' is no commit", why, "pachmount list --commits REPO")
    return commit


def _list_mounts(state: State, as_json: bool) -> None:
    try:
        mounted = state.client().status().mounts
    except DaemonNotRunningError:
        state.note("nothing is mounted: the daemon is not running")
        mounted = []
    if as_json:
        output.json_answer(mounted)
        return
    for entry in mounted:
        output.line(f"{entry.name}: {views.source_text(entry)} at {entry.mountpoint} ({entry.state})")


def unmount(
    state: State,
    targets: opt.NamesOrDirs = None,
    everything: All = False,
    discard: Discard = False,
    keep: Keep = False,
    message: Message = "",
    yes: opt.Yes = False,
    as_json: opt.Json = False,
) -> None:
    """End mounts.

    \b
    Examples:
      pachmount unmount images
      pachmount unmount ~/data/2024    by its directory
      pachmount unmount --all --yes
      pachmount unmount images --keep    staged changes stay for the next mount

    What is staged in a read-write mount is committed first; if that fails the
    mount stays. All names, and whether what is staged can be committed, are
    checked before anything is unmounted. A directory that a program still uses is taken away from view at once; the
    program keeps what it has open.
    """
    if bool(targets) == everything:
        raise UsageError(
            "nothing to unmount" if everything is False else "names and --all given", hint="name mounts, or --all"
        )
    if discard and keep:
        raise UsageError("--discard and --keep given", hint="choose one of them")
    client = state.client()
    status = client.status()
    mounted, kept = status.mounts, {each.name: each for each in status.kept_changes}
    chosen = mounted if everything else [resolve(mounted, target) for target in targets or []]
    chosen = list({entry.name: entry for entry in chosen}.values())
    if everything and chosen:
        which = ", ".join(entry.name for entry in chosen)
        if not state.confirm(f"Unmount {output.count(len(chosen), 'mount')} ({which})?", yes=yes):
            raise PachmountError("nothing was unmounted", "the answer was no")
    if not chosen:
        state.note("nothing is mounted")
    staged = [
        entry.name for entry in chosen if entry.name in kept or (entry.staged is not None and entry.staged.changed)
    ]
    if discard and staged and not state.confirm(f"Give up what is staged in {', '.join(staged)}?", yes=yes):
        raise PachmountError("nothing was unmounted", "the answer was no")
    wanted: AtUnmount = "discard" if discard else "keep" if keep else "commit"
    if wanted == "commit" and not everything:
        _check_commits(client, chosen)
    failures: list[PachmountError] = []
    ended: list[str] = []
    for entry in chosen:
        try:
            fate = wanted
            is_kept = entry.staged is None and entry.name in kept
            found = client.diff(entry.name) if entry.staged is not None or is_kept else None
            changes = found.changes if found is not None else []
            if is_kept and entry.mode != "rw" and fate == "commit":
                fate = "keep"  # it is read-only, so what is staged under its name is not committed
            commit = _commit(state, client, entry, message) if changes and fate == "commit" else ""
            client.unmount([entry.name], staged=fate, message=message)
        except PachmountError as error:
            failures.append(error)
        else:
            ended.append(entry.name)
            if not as_json:
                output.line(f"{entry.name}: unmounted from {entry.mountpoint}")
                _tell_fate(state, entry, len(changes), fate, commit)
                if found is not None and found.ignored and fate != "discard":
                    state.note(
                        f"{output.count(len(found.ignored), 'ignored path')} kept for the next mount of that name"
                    )
    if as_json:
        output.json_answer({"unmounted": ended})
    elif ended:
        tell_unsaved(state, client)
    for failure in failures[1:]:
        output.error(failure)
    if failures:
        raise failures[0]


def _check_commits(client: DaemonClient, chosen: list[MountStatus]) -> None:
    """Refuse to unmount any of several mounts if what is staged in one cannot be committed as it is."""
    if len(chosen) < 2:
        return  # the commit itself says it
    for entry in chosen:
        if entry.staged is None:
            continue
        found = client.diff(entry.name)
        which = [refused.path for refused in found.refused] or found.open_for_writing
        if which:
            reason = "cannot be stored" if found.refused else "is open for writing"
            why = f"'{which[0]}' {reason}; nothing was unmounted"
            hint = f"'pachmount diff {entry.name}' shows it; --keep keeps what is staged"
            raise BusyError(f"what is staged in '{entry.name}' cannot be committed", why, hint)


def tell_unsaved(state: State, client: DaemonClient) -> None:
    """Say that what was done is not written down, if that is so."""
    why = client.status().unsaved_mounts
    if why:
        state.note(f"done, but the next daemon will not know of it: the table of mounts cannot be saved ({why})")
        state.hint("'pachmount status' tells when it is saved: it is tried again with every change")


def _commit(state: State, client: DaemonClient, entry: MountStatus, message: str) -> str:
    """Commit what is staged in a mount; the id of the commit."""
    from pachmount.api.schema import CommitRequest
    from pachmount.cli import committing

    made = committing.commit(state, client, CommitRequest(mount=entry.name, message=message))
    return made.commit or entry.commit


def _tell_fate(state: State, entry: MountStatus, changes: int, fate: str, commit: str) -> None:
    if not changes:
        return
    number = output.count(changes, "change")
    if fate == "keep":
        state.note(f"{number} kept: 'pachmount diff {entry.name}' shows that, 'pachmount staged list' all that is kept")
    elif fate == "discard":
        state.note(f"{number} discarded")
    else:
        state.note(f"committed {number} as {entry.project}/{entry.repo}@{entry.branch}={commit}")


def resolve(mounted: list[MountStatus], target: str) -> MountStatus:
    """The mount that a user means by a name or a directory, perhaps through a link.

    The directory itself is never touched: it may be dead.
    """
    directory = os.path.abspath(target)
    with contextlib.suppress(OSError):  # not a link
        directory = os.path.join(os.path.dirname(directory), os.readlink(directory))
    directory = os.path.normpath(directory)
    real = os.path.join(os.path.realpath(os.path.dirname(directory)), os.path.basename(directory))
    for entry in mounted:
        if entry.name == target:
            return entry
    for entry in mounted:
        if entry.mountpoint in (directory, real):
            return entry
    known = ", ".join(entry.name for entry in mounted)
    raise NotFoundError(
        f"no mount '{target}'", f"mounted: {known}" if known else "nothing is mounted", "pachmount mount"
    )


def find(client: DaemonClient, name: str) -> MountStatus:
    """The mount of that name, which is there."""
    for entry in client.status().mounts:
        if entry.name == name:
            return entry
    raise InternalError(f"the daemon lost the mount '{name}'", "its status does not show it", "pachmount status")
