"""A read-write mount that other users reach as well, and the programs of other people that try it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.box import Box

PROGRAMS = Path(__file__).resolve().parents[2] / "build/posix/bin"
"""Where scripts/test --posix installs them."""


def program(name: str) -> Path:
    """One of the programs; the test fails without it."""
    found = PROGRAMS / name
    if not found.exists():
        pytest.fail(f"{name} is not installed: scripts/test --posix does that, with cargo", pytrace=False)
    return found


@pytest.fixture(scope="module")
def top(fuse: None) -> Iterator[Path]:
    """A directory in the mount."""
    if os.getuid():
        pytest.fail("the POSIX tests are about what different users may do: run them as root", pytrace=False)
    box = Box({"PACHMOUNT_ALLOW_OTHER": "1"})
    try:
        box.start()
        box.root.chmod(0o755)  # other users are to reach the mount
        repo = box.repo("posix")
        box.put(repo, {"/file": b"content"})
        box.mount(repo, mode="rw")
        box.mount_dir.chmod(0o755)
        directory = box.path(repo, "tests")
        directory.mkdir()
        directory.chmod(0o755)
        yield directory
        shutil.rmtree(directory)
        assert not box.log_problems()
        box.stop()
    finally:
        box.close()
