"""Making one commit of changed files: whole or not at all, on the parent that was meant, never twice.

The data goes first, as a file set, which the branch knows nothing of. Then, in a moment: StartCommit, a look at whose
child it is, AddFileSet, FinishCommit. What a lost connection or a killed process leaves of that is an `Attempt`, which
the caller keeps and has settled later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pachmount.errors import (
    BusyError,
    ClusterError,
    ClusterTimeoutError,
    ClusterUnreachableError,
    NotFoundError,
    NotPermittedError,
    PachmountError,
)
from pachmount.names import is_commit_id
from pachmount.pfs.ancestry import base_of
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import BranchInfo, CommitInfo, CommitRef, CommitState, RepoRef

log = logging.getLogger(__name__)

FINISH_SECONDS = 600.0
"""How long the cluster may take to finish a commit."""
_WAIT_SLICE_S = 2.0


@dataclass(frozen=True)
class Attempt:
    """A commit that is being made on a branch. `parent`: the id of its head, "" while there is none.

    `is_new` tells that the branch did not exist. `commit` is "" until the cluster has told the id; `filled` tells that
    all changes are in it.
    """

    branch: str
    parent: str
    is_new: bool = False
    description: str = ""
    commit: str = ""
    filled: bool = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Attempt:
        """One that was noted on the disk. Raises ValueError and TypeError for what can be none."""
        found = cls(**data)
        if not all(type(text) is str for text in (found.branch, found.parent, found.description, found.commit)):
            raise TypeError("a field has a wrong type")
        if type(found.is_new) is not bool or type(found.filled) is not bool or not found.branch:
            raise TypeError("a field has a wrong type")
        if not all(not commit or is_commit_id(commit) for commit in (found.parent, found.commit)):
            raise ValueError("it names a commit that can be none")
        return found


Remember = Callable[[Attempt | None], None]
"""Keeps an attempt for `settle`, durably if the process may end; None when there is nothing left to settle."""


def forget(_attempt: Attempt | None) -> None:
    """For callers that settle nothing: what is left of their attempt is an open commit, at worst."""


def usable_branch(client: PfsClient, repo: RepoRef, branch: str) -> BranchInfo | None:
    """The branch as it is now, None if it does not exist.

    Raises NotPermittedError for the output of a pipeline, BusyError while a commit is open on it.
    """
    try:
        info = client.inspect_branch(repo, branch)
    except NotFoundError:
        return None
    if info.has_provenance:
        why = "it is the output of a pipeline"
        raise NotPermittedError(f"cannot commit to {repo}@{branch}", why, "choose another branch or repo")
    try:
        state = client.inspect_commit(info.head).state
    except NotFoundError as error:
        raise BusyError(f"cannot commit to {repo}@{branch}", "its head was just taken back", "try again") from error
    if state is CommitState.OPEN:
        why = f"commit {info.head.id} is open on it"
        raise BusyError(f"cannot commit to {repo}@{branch}", why, f"pachctl finish commit {repo.name}@{branch}")
    return info


def make_commit(
    client: PfsClient,
    repo: RepoRef,
    attempt: Attempt,
    file_set: str,
    *,
    any_parent: bool = False,
    prune: str = "",
    remember: Remember = forget,
    on_wait: Callable[[], None] = lambda: None,
    wait_s: float = FINISH_SECONDS,
) -> CommitInfo:
    """Commit a file set on a branch; the commit, finished unless that takes longer than `wait_s`.

    `prune` is a directory whose files go first. Raises BusyError if the head is not the parent of the attempt, or a
    branch that was to be new exists, unless `any_parent`; ClusterError if the cluster rejects the files. Then nothing
    was committed. After a ClusterTimeoutError or ClusterUnreachableError the attempt may have to be settled.
    """
    if attempt.is_new and _exists(client, repo, attempt.branch):  # a commit with a parent would take its head away
        if not any_parent:
            why = "somebody else made it; nothing was committed"
            raise BusyError(f"the branch {repo}@{attempt.branch} exists by now", why, "try again")
        attempt = replace(attempt, is_new=False)
    remember(attempt)
    try:
        parent = attempt.parent if attempt.is_new else ""
        commit = client.start_commit(repo, attempt.branch, parent=parent, description=attempt.description)
    except ClusterUnreachableError:
        raise
    except PachmountError:
        remember(None)
        raise
    attempt = replace(attempt, commit=commit.id)
    try:
        remember(attempt)
        if attempt.is_new or not any_parent:
            found = client.inspect_commit(commit).parent
            attempt = replace(attempt, is_new=attempt.is_new and found == attempt.parent)
            if not any_parent:
                _require_parent(found, attempt, repo)
        if prune:
            with client.modify_file(commit) as writer:
                writer.delete_file(prune.rstrip("/") + "/")
                if prune.strip("/"):
                    writer.delete_file(prune.rstrip("/"))
        client.add_file_set(commit, file_set)
        attempt = replace(attempt, filled=True)
        remember(attempt)
    except BaseException:
        if withdraw(client, commit, is_new=attempt.is_new):
            remember(None)
        raise
    _finish(client, commit)
    info = wait_finished(client, commit, time.monotonic() + wait_s, on_wait)
    if info.error:
        if withdraw(client, commit, is_new=attempt.is_new):
            remember(None)
        raise ClusterError(f"the cluster rejected the commit into {repo}@{attempt.branch}", info.error)
    if info.state is CommitState.FINISHED:
        remember(None)
    return info


def settle(client: PfsClient, repo: RepoRef, attempt: Attempt) -> CommitInfo | None:
    """What became of an attempt whose end is not known: the finished commit, or None when there is none (any more).

    A commit that is still open is taken back. Raises BusyError while the cluster is busy with it.
    """
    if not attempt.commit:
        lost = _lost_commit(client, repo, attempt)
        if lost is not None:
            _withdraw_or_raise(client, lost, attempt)
        return None
    commit = CommitRef(repo, attempt.commit, attempt.branch)
    try:
        info = client.inspect_commit(commit)
    except NotFoundError:
        return None
    if info.state is CommitState.FINISHING:
        info = wait_finished(client, commit, time.monotonic() + FINISH_SECONDS)
        if info.state is not CommitState.FINISHED:
            raise BusyError(f"commit {commit.id} is not finished yet", "the cluster is busy", "try again later")
    if info.state is CommitState.OPEN or (info.error and attempt.filled):
        _withdraw_or_raise(client, commit, attempt)
        return None
    return info if attempt.filled and not info.error else None


def withdraw(client: PfsClient, commit: CommitRef, *, is_new: bool) -> bool:
    """Take back a commit that must not stay, and its branch if that is new; whether it is gone or closed.

    Failures are logged: the error that led here matters more.
    """
    try:
        client.drop_commit_set(commit.id)
    except NotFoundError:
        return True
    except PachmountError as drop_error:
        log.info("cannot drop commit %s (%s), finishing it with an error instead", commit, drop_error)
        try:
            if client.inspect_commit(commit).state is CommitState.OPEN:
                client.finish_commit(commit, error="this commit failed: its author took it back")
        except PachmountError as error:
            log.warning("commit %s of a failed upload stays behind: %s", commit, error)
            return False
        return True
    if is_new:
        try:
            client.delete_branch(commit.repo, commit.branch)
        except PachmountError as error:
            log.warning("the new branch %s@%s stays behind: %s", commit.repo, commit.branch, error)
    return True


def wait_finished(
    client: PfsClient, commit: CommitRef, deadline: float, on_wait: Callable[[], None] = lambda: None
) -> CommitInfo:
    """The commit once it is finished, or as it is at the deadline (of time.monotonic)."""
    while True:
        on_wait()
        left = deadline - time.monotonic()
        if left <= 0:
            return client.inspect_commit(commit)
        try:
            return client.inspect_commit(commit, wait="finished", timeout=min(left, _WAIT_SLICE_S))
        except ClusterTimeoutError:
            continue  # a slice of the wait is over


def _exists(client: PfsClient, repo: RepoRef, branch: str) -> bool:
    try:
        client.inspect_branch(repo, branch)
    except NotFoundError:
        return False
    return True


def _require_parent(parent: str, attempt: Attempt, repo: RepoRef) -> None:
    if parent != attempt.parent:
        why = f"{parent[:8] or 'none'} is its head; nothing was committed"
        raise BusyError(f"{repo}@{attempt.branch} was moved meanwhile", why, "try again")


def _finish(client: PfsClient, commit: CommitRef) -> None:
    """Finish a commit; when the answer is lost, the commit tells whether it came through."""
    try:
        client.finish_commit(commit)
    except ClusterUnreachableError:
        if client.inspect_commit(commit).state is CommitState.OPEN:
            client.finish_commit(commit)


def _lost_commit(client: PfsClient, repo: RepoRef, attempt: Attempt) -> CommitRef | None:
    """The empty open commit that StartCommit made, but could not tell of; None if there is none."""
    try:
        info = client.inspect_commit(client.inspect_branch(repo, attempt.branch).head)
    except NotFoundError:
        return None
    is_alike = (info.parent, info.description) == (attempt.parent, attempt.description)
    if info.state is not CommitState.OPEN or not is_alike:
        return None
    commit = CommitRef(repo, info.commit.id, attempt.branch)
    base = base_of(client, repo, attempt.parent) if attempt.parent else ""
    changed = client.diff(commit, CommitRef(repo, base)) if base else ((entry, None) for entry in client.walk(commit))
    return None if next(iter(changed), None) is not None else commit


def _withdraw_or_raise(client: PfsClient, commit: CommitRef, attempt: Attempt) -> None:
    if not withdraw(client, commit, is_new=attempt.is_new):
        why = "a commit that was cut off is still open there, and cannot be taken back now"
        raise BusyError(f"cannot commit to {commit.repo}@{attempt.branch}", why, "try again later")
