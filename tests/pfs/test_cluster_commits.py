"""Commits to branches that somebody else makes, or moves, at the same time: nothing of theirs goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pachmount.errors import BusyError, NotFoundError, PachmountError
from pachmount.pfs.client import PfsClient
from pachmount.pfs.commits import Attempt, make_commit
from pachmount.pfs.model import CommitRef, RepoRef

Put = Callable[..., CommitRef]


def files(client: PfsClient, repo: RepoRef, branch: str) -> set[str]:
    return {entry.path for entry in client.walk(CommitRef(repo, branch)) if not entry.is_dir}


def file_set(client: PfsClient) -> str:
    with client.create_file_set() as writer:
        writer.add_file("/ours", b"ours")
    return str(writer.file_set)


@pytest.mark.parametrize("on_a_commit", [False, True])
def test_a_branch_that_was_to_be_new_is_not_taken_from_who_made_it_meanwhile(
    client: PfsClient, repo: RepoRef, put: Put, on_a_commit: bool
) -> None:
    base = put(repo, {"/base": b"theirs"}, "master").id if on_a_commit else ""
    ours = file_set(client)
    theirs = put(repo, {"/theirs": b"theirs"}, "dev").id
    with pytest.raises(BusyError, match="exists by now"):
        make_commit(client, repo, Attempt("dev", base, is_new=True), ours)
    assert client.inspect_branch(repo, "dev").head.id == theirs
    assert files(client, repo, "dev") == {"/theirs"}


def test_where_any_parent_will_do_it_goes_on_top(client: PfsClient, repo: RepoRef, put: Put) -> None:
    ours = file_set(client)
    theirs = put(repo, {"/theirs": b"theirs"}, "dev").id
    made = make_commit(client, repo, Attempt("dev", "", is_new=True), ours, any_parent=True)
    assert made.parent == theirs
    assert files(client, repo, "dev") == {"/theirs", "/ours"}


def test_a_new_branch_goes_with_the_commit_that_was_refused(client: PfsClient, repo: RepoRef) -> None:
    with pytest.raises(PachmountError):
        make_commit(client, repo, Attempt("dev", "", is_new=True), "0" * 32)
    with pytest.raises(NotFoundError):
        client.inspect_branch(repo, "dev")


def test_a_head_that_moved_stays(client: PfsClient, repo: RepoRef, put: Put) -> None:
    before = put(repo, {"/before": b"theirs"}, "master").id
    ours = file_set(client)
    theirs = put(repo, {"/theirs": b"theirs"}, "master").id
    with pytest.raises(BusyError, match="moved meanwhile"):
        make_commit(client, repo, Attempt("master", before), ours)
    assert client.inspect_branch(repo, "master").head.id == theirs
