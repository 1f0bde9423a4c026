"""Fixtures: a box that the tests of a module share, and boxes of a test's own. A dirty log fails the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.box import Box
from tests.integration.rest_client import Rest, client_of


@pytest.fixture(scope="module")
def shared_box(fuse: None, request: pytest.FixtureRequest) -> Iterator[Box]:
    """A running daemon for one module, with the module's BOX_ENV in its environment. Use `box`."""
    box = Box(getattr(request.module, "BOX_ENV", None))
    try:
        box.start()
        yield box
        box.stop()
    finally:
        box.close()


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
