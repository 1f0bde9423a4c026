"""Fixtures: a box that the tests of a module share, and boxes of a test's own. A dirty log fails the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.box import Box


@pytest.fixture(scope="module")
def shared_box(fuse: None) -> Iterator[Box]:
    """A running daemon for one module. Use `box`."""
    box = Box()
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
