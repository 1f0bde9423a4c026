"""From a source to the commit that is shown."""

from __future__ import annotations

from typing import Literal

import pytest

from pachmount.errors import BusyError, ClusterTimeoutError, NotFoundError, NotPermittedError
from pachmount.mounts.resolve import READ_PERMISSIONS, Resolved, check_commit_form, resolve
from pachmount.names import Source
from pachmount.pfs.model import BranchInfo, CommitInfo, CommitRef, ProjectInfo, RepoInfo, RepoRef

REPO = RepoRef("default", "r")
IDS = [digit * 32 for digit in "abc"]


class FakeClient:
    """One repo with a branch `master` of commits, oldest first: finished unless told otherwise."""

    def __init__(self, *states: Literal["finished", "finishing", "open"], permissions: tuple[int, ...] | None = None):
        self.states = list(states)
        self.permissions = permissions
        self.waited_for: list[tuple[str, float | None]] = []

    def _info(self, number: int) -> CommitInfo:
        state = self.states[number]
        return CommitInfo(
            CommitRef(REPO, IDS[number], "master"),
            IDS[number - 1] if number else "",
            started=float(number),
            finishing=10.0 + number if state != "open" else None,
            finished=100.0 + number if state == "finished" else None,
        )

    def inspect_project(self, name: str) -> ProjectInfo:
        if name != "default":
            raise NotFoundError(f"project {name} is unknown")
        return ProjectInfo(name)

    def inspect_repo(self, repo: RepoRef) -> RepoInfo:
        if repo != REPO:
            raise NotFoundError(f"repo {repo} is unknown")
        return RepoInfo(repo, permissions=self.permissions)

    def inspect_branch(self, repo: RepoRef, name: str) -> BranchInfo:
        if name != "master":
            raise NotFoundError(f"branch {name} is unknown")
        return BranchInfo(repo, name, CommitRef(repo, IDS[len(self.states) - 1], name))

    def inspect_commit(self, commit: CommitRef, wait: str | None = None, timeout: float | None = None) -> CommitInfo:
        if commit.id == "master^":
            return self._info(len(self.states) - 2)
        if commit.id not in IDS:
            raise NotFoundError(f"commit {commit.id} is unknown")
        number = IDS.index(commit.id)
        if wait == "finished":
            self.waited_for.append((commit.id, timeout))
            if self.states[number] == "open":
                raise ClusterTimeoutError("still open")
            self.states[number] = "finished"
        return self._info(number)

    def list_commits(self, repo: RepoRef, *, number: int, to: str) -> list[CommitInfo]:
        return [self._info(n) for n in reversed(range(IDS.index(to) + 1))][:number]


def shown(client: FakeClient, source: Source) -> Resolved:
    return resolve(client, source, 7.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("branch", ["", "master"])
def test_a_branch_shows_its_newest_commit(branch: str) -> None:
    found = shown(FakeClient("finished", "finished"), Source("default", "r", branch))
    assert found == Resolved(Source("default", "r", "master", IDS[1]), 101.0, pinned=False, head=IDS[1])


def test_an_open_head_is_passed_over() -> None:
    found = shown(FakeClient("finished", "open", "open"), Source("default", "r", "master"))
    assert found == Resolved(Source("default", "r", "master", IDS[0]), 100.0, pinned=False, head=IDS[2])


def test_a_branch_with_nothing_finished_is_incomplete() -> None:
    found = shown(FakeClient("open"), Source("default", "r", "master"))
    assert found == Resolved(Source("default", "r", "master", IDS[0]), 0.0, pinned=False, complete=False, head=IDS[0])


def test_a_commit_that_is_being_finished_is_waited_for_within_bounds() -> None:
    client = FakeClient("finished", "finishing")
    assert shown(client, Source("default", "r", "master")).source.commit == IDS[1]
    assert client.waited_for == [(IDS[1], 7.0)]


def test_a_named_commit_is_pinned_and_keeps_its_branch() -> None:
    found = shown(FakeClient("finished", "finished"), Source("default", "r", "", IDS[0]))
    assert found == Resolved(Source("default", "r", "master", IDS[0]), 100.0, pinned=True)


def test_an_ancestry_becomes_an_id() -> None:
    assert shown(FakeClient("finished", "finished"), Source("default", "r", "", "master^")).source.commit == IDS[0]


def test_a_named_commit_that_is_open_is_refused() -> None:
    with pytest.raises(BusyError, match="not finished"):
        shown(FakeClient("open"), Source("default", "r", "", IDS[0]))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (Source("p", "r"), 'project "p" not found'),
        (Source("default", "x"), "repo default/x not found"),
        (Source("default", "r", "dev"), 'branch "dev" not found in repo default/r'),
        (Source("default", "r", "dev", IDS[0]), 'branch "dev" not found in repo default/r'),
        (Source("default", "r", "", "f" * 32), f"commit default/r@{'f' * 32} not found"),
    ],
)
def test_what_is_missing_is_named_with_the_way_to_find_it(source: Source, says: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        shown(FakeClient("finished"), source)
    assert caught.value.what == says
    assert caught.value.hint.startswith("pachmount list")
    assert isinstance(caught.value.__cause__, NotFoundError)


@pytest.mark.parametrize("missing", sorted(READ_PERMISSIONS))
def test_all_permissions_to_read_are_needed(missing: int) -> None:
    allowed = tuple(READ_PERMISSIONS.keys() - {missing})
    with pytest.raises(NotPermittedError, match="doesn't have read permission on repo r"):
        shown(FakeClient("finished", permissions=allowed), Source("default", "r"))
    assert (
        shown(FakeClient("finished", permissions=(*allowed, missing)), Source("default", "r")).source.commit == IDS[0]
    )


@pytest.mark.parametrize("text", ["", "bad", "A" * 32, "a" * 7, "a" * 33, "g" * 32, "a" * 32 + "\n"])
def test_what_is_no_commit_id_is_refused(text: str) -> None:
    with pytest.raises(NotFoundError, match="invalid commit ID"):
        check_commit_form(text)
    check_commit_form("a" * 32)


@pytest.mark.parametrize("times", [1, 100])
def test_a_head_that_is_taken_back_meanwhile_is_looked_for_anew(times: int) -> None:
    class Changing(FakeClient):
        heads_gone = times

        def inspect_branch(self, repo: RepoRef, name: str) -> BranchInfo:
            self.heads_gone -= 1
            if self.heads_gone >= 0:
                return BranchInfo(repo, name, CommitRef(repo, "d" * 32, name))
            return super().inspect_branch(repo, name)

    if times == 1:
        assert resolve(Changing("finished"), Source("default", "r", "master", ""), 1.0).source.commit == IDS[0]  # type: ignore[arg-type]
        return
    with pytest.raises(BusyError):
        resolve(Changing("finished"), Source("default", "r", "master", ""), 1.0)  # type: ignore[arg-type]
