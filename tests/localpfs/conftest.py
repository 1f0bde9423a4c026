"""A running embedded server for the tests of one module, and an open store without a server."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pachmount.localpfs.store import Store
from pachmount.pfs.proto import pfs_pb2
from tests.localpfs.servers import Server, repo, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("pfs")
    with running(root / "store", f"unix://{root}/s") as started:
        yield started


_numbers = itertools.count()


@pytest.fixture
def new_repo(server: Server) -> str:
    """The name of a repo that only this test uses."""
    name = f"repo{next(_numbers)}"
    server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo(name)))
    return name


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def reopened(tmp_path: Path) -> Callable[[], Store]:
    """Opens the store of this test again."""
    return lambda: Store(tmp_path / "store")
