"""What is shipped, built once for all tests of a run."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.packaging.building import ROOT, build


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"), "1")[0]


@pytest.fixture(scope="session")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(directory := tmp_path_factory.mktemp("unpacked"))
    return next(directory.iterdir())


@pytest.fixture(scope="session")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pip makes it of the sdist, on a machine without Node.js."""
    return build(unpacked, "wheel", tmp_path_factory.mktemp("wheel"), "1", node=False)[0]
