"""Fixtures: a Jupyter server with our extension beside the module's daemon, and servers of a test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.box import Box
from tests.integration.conftest import (  # noqa: F401 (fixtures)
    box,
    cluster,
    connected_box,
    new_box,
    pipeline_box,
    running_pipelines,
    shared_box,
)
from tests.lab.server.jupyter import Jupyter, jupyter


@pytest.fixture(scope="module")
def shared_lab(shared_box: Box) -> Iterator[Jupyter]:  # noqa: F811
    """One for the tests of a module, at a base URL that is not `/`. Use `lab`."""
    with jupyter(shared_box, base="/user/ada/") as lab:
        yield lab


@pytest.fixture
def lab(shared_lab: Jupyter, box: Box) -> Jupyter:  # noqa: F811
    """The module's server, with nothing mounted before and after."""
    return shared_lab
