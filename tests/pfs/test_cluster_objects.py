"""Projects, repos, branches, commits: every call against a real server."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from local_server import unused_name

from pachmount.errors import (
    AlreadyExistsError,
    ClusterError,
    ClusterTimeoutError,
    NotFoundError,
    PachmountError,
    UsageError,
)
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import AuthState, CommitRef, CommitState, RepoRef

Put = Callable[..., CommitRef]


class TestCluster:
    def test_facts(self, client: PfsClient) -> None:
        assert client.health(timeout=5.0)
        assert client.version().major == 2
        assert client.inspect_cluster().id

    def test_identity(self, client: PfsClient) -> None:
        if "PACHMOUNT_TEST_PACHD" not in os.environ:
            assert client.identity().state is AuthState.OFF


class TestProjects:
    def test_life(self, client: PfsClient, new_project: str) -> None:
        with pytest.raises(NotFoundError, match=new_project):
            client.inspect_project(new_project)
        client.create_project(new_project, "for a test")
        assert client.inspect_project(new_project).description == "for a test"
        assert new_project in [project.name for project in client.list_projects()]
        with pytest.raises(AlreadyExistsError):
            client.create_project(new_project)
        client.create_repo(RepoRef(new_project, "r"))
        with pytest.raises(ClusterError):
            client.delete_project(new_project)


class TestRepos:
    def test_life(self, client: PfsClient) -> None:
        repo = RepoRef("default", unused_name("test"))
        with pytest.raises(NotFoundError, match=repo.name):
            client.inspect_repo(repo)
        client.create_repo(repo, "one")
        try:
            info = client.inspect_repo(repo)
            assert (info.repo, info.description, info.branches) == (repo, "one", ())
            assert info.created
            with pytest.raises(AlreadyExistsError):
                client.create_repo(repo)
            client.create_repo(repo, "two", update=True)
            assert client.inspect_repo(repo).description == "two"
            assert repo in [info.repo for info in client.list_repos()]
            assert repo in [info.repo for info in client.list_repos(["default"])]
        finally:
            client.delete_repo(repo)
        with pytest.raises(NotFoundError):
            client.inspect_repo(repo)
        client.delete_repo(repo)

    def test_of_a_project(self, client: PfsClient, new_project: str, repo: RepoRef) -> None:
        client.create_project(new_project)
        assert client.list_repos([new_project]) == []
        client.create_repo(RepoRef(new_project, "r"))
        assert [info.repo for info in client.list_repos([new_project])] == [RepoRef(new_project, "r")]

    def test_in_a_project_that_does_not_exist(self, client: PfsClient) -> None:
        with pytest.raises(NotFoundError):
            client.create_repo(RepoRef(unused_name("none"), "r"))

    def test_bad_name(self, client: PfsClient) -> None:
        with pytest.raises(UsageError):
            client.create_repo(RepoRef("default", "a b"))


class TestBranches:
    def test_life(self, client: PfsClient, repo: RepoRef, put: Put) -> None:
        assert client.list_branches(repo) == []
        with pytest.raises(NotFoundError):
            client.inspect_branch(repo, "master")
        first = put(repo, {"/a": b"1"})
        second = put(repo, {"/a": b"2"})
        client.create_branch(repo, "old", first)
        assert client.inspect_branch(repo, "old").head.id == first.id
        client.create_branch(repo, "old", second)
        assert client.inspect_branch(repo, "old").head.id == second.id
        client.create_branch(repo, "new")
        names = [branch.name for branch in client.list_branches(repo)]
        assert sorted(names) == ["master", "new", "old"]
        assert not client.inspect_branch(repo, "new").has_provenance
        client.delete_branch(repo, "old")
        with pytest.raises(NotFoundError):
            client.inspect_branch(repo, "old")

    def test_of_a_repo_that_does_not_exist(self, client: PfsClient) -> None:
        with pytest.raises(NotFoundError):
            client.inspect_branch(RepoRef("default", unused_name("none")), "master")


class TestCommits:
    def test_life(self, client: PfsClient, repo: RepoRef) -> None:
        commit = client.start_commit(repo, "master", description="hello")
        info = client.inspect_commit(commit)
        assert (info.state, info.description, info.commit.id) == (CommitState.OPEN, "hello", commit.id)
        with client.modify_file(commit) as change:
            change.add_file("/a", b"12345")
        client.finish_commit(commit)
        info = client.inspect_commit(commit, wait="finished", timeout=60)
        assert (info.state, info.error, info.size_bytes) == (CommitState.FINISHED, "", 5)
        assert info.started
        assert info.finished
        with pytest.raises(PachmountError, match="finished"), client.modify_file(commit) as change:
            change.add_file("/b", b"late")

    def test_waiting_for_an_open_commit_ends(self, client: PfsClient, repo: RepoRef) -> None:
        commit = client.start_commit(repo)
        with pytest.raises(ClusterTimeoutError):
            client.inspect_commit(commit, wait="finished", timeout=0.3)
        client.finish_commit(commit)

    def test_listing(self, client: PfsClient, repo: RepoRef, put: Put) -> None:
        ids = [put(repo, {"/a": str(number).encode()}).id for number in range(4)]
        newest_first = ids[::-1]
        assert [info.commit.id for info in client.list_commits(repo)] == newest_first
        assert [info.commit.id for info in client.list_commits(repo, number=None)] == newest_first
        assert [info.commit.id for info in client.list_commits(repo, number=2)] == newest_first[:2]
        assert [info.commit.id for info in client.list_commits(repo, to="master")] == newest_first
        between = client.list_commits(repo, to=ids[2], from_=ids[0])
        assert [info.commit.id for info in between] == [ids[2], ids[1]]
        assert between[0].parent == ids[1]
        with pytest.raises(UsageError):
            client.list_commits(repo, number=0)

    def test_ancestry(self, client: PfsClient, repo: RepoRef, put: Put) -> None:
        first, second = put(repo, {"/a": b"1"}), put(repo, {"/a": b"2"})
        assert client.inspect_commit(CommitRef(repo, "master")).commit.id == second.id
        assert client.inspect_commit(CommitRef(repo, "master^")).commit.id == first.id

    def test_drop(self, client: PfsClient, repo: RepoRef, put: Put) -> None:
        first, second = put(repo, {"/a": b"1"}), put(repo, {"/a": b"2"})
        client.drop_commit_set(second.id)
        assert client.inspect_branch(repo).head.id == first.id
        with pytest.raises(NotFoundError):
            client.inspect_commit(second)
