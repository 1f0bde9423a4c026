"""From a source as asked for to the commit that a mount will show, with the checks of the original."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from pachmount.errors import BusyError, FailedCommitError, NotFoundError, NotPermittedError, UsageError
from pachmount.names import DEFAULT_BRANCH, Source, ancestry_branch, is_commit_id, is_commit_prefix
from pachmount.pfs.ancestry import error_text, fault, is_good, newest_good
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitInfo, CommitRef, CommitState, RepoRef

READ_PERMISSIONS = {200: "REPO_READ", 205: "REPO_LIST_COMMIT", 208: "REPO_LIST_BRANCH", 211: "REPO_LIST_FILE"}
"""What reading takes (numbers of auth_v2.Permission)."""
WRITE_PERMISSION = 201
COMMITS_SEARCHED = 1000
HEADS_TRIED = 5


@dataclass(frozen=True)
class Resolved:
    """A commit to show: `source.commit` is an id, `time` its finishing time (s since the epoch).

    `complete` is False for an open commit that has no finished ancestor. `head` is the id of the branch's head, ""
    where it was not looked at; `note` tells of an error of the head that is passed over. `created` is when the repo was
    made (s since the epoch, 0 = not known).
    """

    source: Source
    time: float
    pinned: bool
    complete: bool = True
    head: str = ""
    note: str = ""
    created: float = 0.0


def resolve(client: PfsClient, source: Source, finish_timeout: float) -> Resolved:
    """Find the commit of a source: the named one, else the newest of its branch (default: master) that is finished
    without an error.

    A commit that is being finished is waited for, `finish_timeout` seconds at most. Raises FailedCommitError for a
    named commit with an error, NotFoundError, BusyError, NotPermittedError and whatever keeps us from asking.
    """
    repo = RepoRef(source.project, source.repo)
    with _explained(f'project "{source.project}" not found', "pachmount list --projects"):
        client.inspect_project(source.project)
    created = check_readable(client, repo)
    return replace(_resolve_in(client, repo, source, finish_timeout), created=created)


def _resolve_in(client: PfsClient, repo: RepoRef, source: Source, finish_timeout: float) -> Resolved:
    if source.commit:
        return _resolve_commit(client, repo, source, finish_timeout)
    branch = source.branch or DEFAULT_BRANCH
    for _ in range(HEADS_TRIED):
        try:
            with _explained(f'branch "{branch}" not found in repo {repo}', f"pachmount list {repo}"):
                head = client.inspect_branch(repo, branch).head
        except NotFoundError:
            if not is_commit_prefix(branch):
                raise
            return _resolve_commit(client, repo, Source(source.project, source.repo, "", branch), finish_timeout)
        with suppress(NotFoundError):  # somebody began a commit and took it back meanwhile
            return _resolve_head(client, replace(source, branch=branch), head, finish_timeout)
    raise BusyError(f'branch "{branch}" of repo {repo} changes all the time', "", "try again")


def _resolve_head(client: PfsClient, source: Source, head: CommitRef, finish_timeout: float) -> Resolved:
    """The commit at the head of a branch, or its newest finished ancestor. NotFoundError if that is gone."""
    info = _settled(client, client.inspect_commit(head), finish_timeout)
    source = source.at(info.commit.id)
    if is_good(info):
        return Resolved(source, finish_time(info), pinned=False, head=head.id)
    found, _ = newest_good(client, head.repo, head.id, "")
    if found is not None:
        what = f"the head {head.id[:8]} of {_short(source)} {fault(info)} — showing {found.commit.id[:8]}"
        note = f"{what}; 'pachmount list --commits {_short(source)}' shows all" if info.error else ""
        return Resolved(source.at(found.commit.id), finish_time(found), pinned=False, head=head.id, note=note)
    if info.error:
        what = f"{_short(source)} has no commit without an error"
        hint = f"pachmount list --commits {_short(source)}"
        raise FailedCommitError(what, f"commit {info.commit.id[:8]}: {error_text(info)}", hint)
    return Resolved(source, finish_time(info), pinned=False, complete=False, head=head.id)


def _short(source: Source) -> str:
    """A source without its commit and path, for people."""
    return str(Source(source.project, source.repo, source.branch))


def resolve_writable(client: PfsClient, source: Source, finish_timeout: float) -> Resolved:
    """The same for a mount whose changes will be committed to the branch, which need not exist yet.

    NotPermittedError if we may not write to the repo, or a pipeline does.
    """
    repo, branch = RepoRef(source.project, source.repo), source.branch or DEFAULT_BRANCH
    created = check_readable(client, repo)
    what = f"can't create writable mount since user doesn't have write access on repo {repo.name}"
    require_writable(client, repo, what=what)
    known = {info.name: info for info in client.list_branches(repo)}
    if branch in known and known[branch].has_provenance:
        hint = f"pachmount mount {repo}@NEW --rw commits to another branch"
        raise NotPermittedError(f"cannot write to {repo}@{branch}", "it is the output of a pipeline", hint)
    try:
        if source.commit or branch in known:
            return resolve(client, source, finish_timeout)
    except FailedCommitError:
        if source.commit:
            raise  # else the next commit of the branch begins without files, as that of a new one
    return Resolved(replace(source, branch=branch), time.time(), pinned=False, complete=False, created=created)


def require_writable(client: PfsClient, repo: RepoRef, comfort: str = "", what: str = "") -> None:
    """NotPermittedError if we may not write to a repo, NotFoundError if it is gone; `comfort` says what stays."""
    try:
        permissions = client.inspect_repo(repo).permissions
    except NotFoundError as error:
        raise NotFoundError(f"repo {repo} not found", comfort, "pachmount list") from error
    if permissions is not None and WRITE_PERMISSION not in permissions:
        what = what or f"user doesn't have write permission on repo {repo.name}"
        why = "; ".join(filter(None, ["REPO_WRITE is missing", comfort]))
        raise NotPermittedError(what, why, _who_can_help(repo, "repoWriter"))


def check_readable(client: PfsClient, repo: RepoRef) -> float:
    """When a repo was made (s since the epoch, 0 = not known).

    NotFoundError if there is no such repo, NotPermittedError if we may not read it.
    """
    with _explained(f"repo {repo} not found", "pachmount list"):
        info = client.inspect_repo(repo)
    permissions = info.permissions
    missing = [] if permissions is None else [name for key, name in READ_PERMISSIONS.items() if key not in permissions]
    if missing:
        what = f"user doesn't have read permission on repo {repo.name}"
        why = f"{', '.join(missing)} {'are' if len(missing) > 1 else 'is'} missing"
        raise NotPermittedError(what, why, _who_can_help(repo, "repoReader"))
    return info.created or 0.0


def _who_can_help(repo: RepoRef, role: str) -> str:
    return f"whoever owns the repo {repo} can give you the role {role}"


def _resolve_commit(client: PfsClient, repo: RepoRef, source: Source, finish_timeout: float) -> Resolved:
    if source.branch:
        with _explained(f'branch "{source.branch}" not found in repo {repo}', f"pachmount list {repo}"):
            client.inspect_branch(repo, source.branch)
    with _explained(f"commit {repo}@{source.commit} not found", f"pachmount list --commits {repo}"):
        commit = _whole_id(client, repo, source.commit) if is_commit_prefix(source.commit) else source.commit
        info = _settled(client, client.inspect_commit(CommitRef(repo, commit)), finish_timeout)
    if info.state is not CommitState.FINISHED:
        raise BusyError(f"commit {info.commit.id} is not finished", "its files can still change", "mount its branch")
    if info.error:
        raise _failed(client, repo, info)
    branch = source.branch or ancestry_branch(source.commit) or info.commit.branch
    return Resolved(Source(source.project, source.repo, branch, info.commit.id), finish_time(info), pinned=True)


def _failed(client: PfsClient, repo: RepoRef, info: CommitInfo) -> FailedCommitError:
    """Why the files of a commit are not shown, and where the last good ones are."""
    good, _ = newest_good(client, repo, info.commit.id, "")
    hint = f"pachmount list --commits {repo}"
    if good is not None:
        hint = f"the newest commit before it without an error: pachmount list {repo}@{good.commit.id}"
    return FailedCommitError(f"commit {info.commit.id} of repo {repo} has an error", error_text(info), hint)


def _whole_id(client: PfsClient, repo: RepoRef, prefix: str) -> str:
    """The id that begins with `prefix`, among the newest commits; `prefix` itself if there is none."""
    recent = client.list_commits(repo, number=COMMITS_SEARCHED)
    found = {info.commit.id for info in recent if info.commit.id.startswith(prefix)}
    if len(found) > 1:
        raise UsageError(f"'{prefix}' is the beginning of {len(found)} commits of {repo}", "", "give more digits")
    return found.pop() if found else prefix


@contextmanager
def _explained(what: str, hint: str) -> Iterator[None]:
    """Say NotFoundError in our words and with a hint; the server's words stay its cause."""
    try:
        yield
    except NotFoundError as error:
        raise NotFoundError(what, "", hint) from error


def _settled(client: PfsClient, info: CommitInfo, timeout: float) -> CommitInfo:
    """The commit once the server is done finishing it; unchanged if it is open."""
    if info.state is not CommitState.FINISHING:
        return info
    return client.inspect_commit(info.commit, wait="finished", timeout=timeout)


def finish_time(info: CommitInfo) -> float:
    """What the files of a commit show as their time (s since the epoch)."""
    return info.finished or info.started or 0.0


def check_commit_form(commit: str) -> None:
    """NotFoundError for text that is neither a commit id nor may be one (`invalid commit ID`, as the original says)."""
    if not (is_commit_id(commit) or is_commit_prefix(commit)):
        raise NotFoundError("invalid commit ID", f"'{commit}' is not 32 hex digits")
