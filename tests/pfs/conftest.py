"""A real server for the PFS client: the embedded one, or the cluster that PACHMOUNT_TEST_PACHD names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest
from local_server import LocalServer, unused_name

from pachmount.errors import NotFoundError
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, RepoRef


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server of the test's own, for tests that stop it."""
    server = LocalServer(tmp_path_factory.mktemp("p"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server that all tests share."""
    if given := os.environ.get("PACHMOUNT_TEST_PACHD"):
        yield given
        return
    server = LocalServer(tmp_path_factory.mktemp("p"))
    server.start()
    yield server.address
    server.stop()


@pytest.fixture
def client(address: str) -> Iterator[PfsClient]:
    with PfsClient(address) as client:
        yield client


@pytest.fixture
def new_repo(client: PfsClient) -> Iterator[Callable[[], RepoRef]]:
    """Makes empty repos, and deletes them after the test."""
    made: list[RepoRef] = []

    def make() -> RepoRef:
        repo = RepoRef("default", unused_name("test"))
        client.create_repo(repo)
        made.append(repo)
        return repo

    yield make
    for repo in reversed(made):
        client.delete_repo(repo, force=True)


@pytest.fixture
def repo(new_repo: Callable[[], RepoRef]) -> RepoRef:
    return new_repo()


@pytest.fixture
def new_project(client: PfsClient) -> Iterator[str]:
    """A name for a project that the test makes; deleted with its repos after the test."""
    name = unused_name("proj")
    yield name
    for info in client.list_repos([name]):
        client.delete_repo(info.repo, force=True)
    with contextlib.suppress(NotFoundError):  # the test need not have made it
        client.delete_project(name, force=True)


@pytest.fixture
def put(client: PfsClient) -> Callable[..., CommitRef]:
    """Stores files (path to content) in a commit of their own and waits until it is finished."""

    def put(repo: RepoRef, files: dict[str, bytes], branch: str = "master") -> CommitRef:
        with client.modify_file(CommitRef(repo, "", branch)) as change:
            for path, content in files.items():
                change.delete_file(path)
                change.add_file(path, content)
        head = client.inspect_branch(repo, branch).head
        client.inspect_commit(head, wait="finished", timeout=60)
        return head

    return put
