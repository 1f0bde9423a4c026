"""A real server for the PFS client: the embedded one, or the cluster that PACHMOUNT_TEST_PACHD names."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pachmount.errors import NotFoundError
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, RepoRef

START_LIMIT_S = 30


class LocalServer:
    """The embedded server as a process of its own."""

    def __init__(self, directory: Path) -> None:
        self._root = directory / "root"
        self._log = directory / "log"
        self.address = f"unix://{directory}/s"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        reader, writer = os.pipe()
        command = [sys.executable, "-m", "pachmount.localpfs"]
        command += ["--root", str(self._root), "--listen", self.address, "--ready-fd", str(writer)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, pass_fds=[writer], stdout=log, stderr=log)
        os.close(writer)
        with open(reader, "rb", buffering=0) as ready:
            readable, _, _ = select.select([ready], [], [], START_LIMIT_S)
            answer = ready.read(200) if readable else b""
        if not answer:
            self.kill()
            raise AssertionError(f"the server did not start: {self._log.read_text()[-2000:]}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None


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


def unused_name(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


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
