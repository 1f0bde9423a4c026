"""A look at what is staged, while that is committed or given up."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from pachmount.errors import DataError
from pachmount.mounts import writing as module
from pachmount.mounts.mount import Mount
from pachmount.mounts.staged_places import StagedPlaces
from pachmount.mounts.writing import Writing
from pachmount.overlay.difference import Difference
from tests.unit.mounts.test_mount import spec


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Difference]:
    """The difference of a mount whose staged bytes cannot be read so many times."""
    writing = Writing(MagicMock(), MagicMock(), StagedPlaces(MagicMock(), tmp_path), 1, tmp_path / "ignore")
    mount = Mount(spec(mode="rw"), overlay=MagicMock())
    monkeypatch.setattr(module, "snapshot", MagicMock())
    monkeypatch.setattr(module, "ignoring", MagicMock())

    def after(failures: int) -> Difference:
        missing = OSError(errno.EIO, "staged bytes are missing")
        answers = MagicMock(side_effect=[missing] * failures + [MagicMock()])
        monkeypatch.setattr(module, "difference", answers)
        return writing.difference(mount)

    return after


def test_bytes_that_go_while_they_are_looked_at_are_looked_for_anew(look: Callable[[int], Difference]) -> None:
    assert look(1) is not None


def test_bytes_that_can_never_be_read_are_an_error_for_people(look: Callable[[int], Difference]) -> None:
    with pytest.raises(DataError, match="staged bytes are missing"):
        look(module.ATTEMPTS)
