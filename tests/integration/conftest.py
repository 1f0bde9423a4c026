"""Fixtures: a box that the tests of a module share, and boxes of a test's own. A dirty log fails the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pachmount.pfs.model import RepoRef
from tests.integration.box import Box, running_box
from tests.integration.pipeline_cluster import PipelineCluster, pipeline_cluster
from tests.integration.rest_client import SERVED, Rest, client_of


@pytest.fixture(scope="module")
def shared_box(fuse: None, request: pytest.FixtureRequest) -> Iterator[Box]:
    """A running daemon for one module, with the module's BOX_ENV in its environment. Use `box`."""
    with running_box(getattr(request.module, "BOX_ENV", None)) as box:
        yield box


@pytest.fixture
def box(shared_box: Box) -> Iterator[Box]:
    """The module's daemon with nothing mounted, before and after."""
    yield shared_box
    shared_box.clean()
    left = shared_box.mounts_in_kernel()
    assert not left, f"still mounted after unmount --all: {left}"
    assert not shared_box.log_problems()


@pytest.fixture(params=["socket", "tcp"])
def rest(box: Box, request: pytest.FixtureRequest) -> Iterator[Rest]:
    """Somebody else's client of `box`, over both transports; the module has BOX_ENV = rest_client.SERVED."""
    with client_of(box, request.param) as rest:
        yield rest


@pytest.fixture
def new_box(fuse: None) -> Iterator[Callable[..., Box]]:
    """Makes boxes that one test starts, breaks and throws away: `new_box(PACHMOUNT_READ_TIMEOUT="3")`.

    Errors in their logs fail the test unless it calls `log_problems` itself.
    """
    made: list[Box] = []

    def make(*, share: Box | None = None, start: bool = True, **env: str) -> Box:
        made.append(Box(env, share=share))
        if start:
            made[-1].start()
        return made[-1]

    problems = []
    try:
        yield make
    finally:
        for box in reversed(made):
            problems += box.log_problems()
            box.close()
    assert not problems


@pytest.fixture(scope="module")
def running_pipelines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineCluster]:
    """A cluster that runs pipelines, with the repo `images`, for one module. Use `cluster`."""
    with pipeline_cluster(tmp_path_factory.mktemp("cluster") / "store") as cluster:
        cluster.put(RepoRef("default", "images"), {"/a": b"a", "/b": b"b"})
        yield cluster


@pytest.fixture
def cluster(running_pipelines: PipelineCluster) -> Iterator[PipelineCluster]:
    """The module's, asked for nothing so far, and without faults before and after."""
    running_pipelines.requests.clear()
    yield running_pipelines
    running_pipelines.faults.clear()
    running_pipelines.answers_are_lost, running_pipelines.tells_details = False, True


@pytest.fixture(scope="module")
def connected_box(fuse: None, running_pipelines: PipelineCluster) -> Iterator[Box]:
    """A running daemon that uses it, over both transports, for one module. Use `pipeline_box`."""
    box = Box(SERVED)
    try:
        box.ok("daemon", "start")
        box.ok("login", running_pipelines.address)
        yield box
        assert not box.log_problems()
    finally:
        box.close()


@pytest.fixture
def pipeline_box(connected_box: Box) -> Iterator[Box]:
    """The module's, with nothing mounted."""
    yield connected_box
    connected_box.clean()
