"""Damage of any file of a whole installation: right bytes, or a clear error with all data still on the disk."""

from __future__ import annotations

import pytest

from tests.integration.damage import Harness, made


def _run(rounds: int, seed: int, record: pytest.CaptureFixture[str]) -> None:
    with made() as world:
        harness = Harness(world, seed)
        harness.run(rounds)
    with record.disabled():
        print("", *harness.lines(), sep="\n  ")


@pytest.mark.timeout(1800)
def test_30_rounds_of_damage(fuse: None, capsys: pytest.CaptureFixture[str]) -> None:
    _run(30, 7, capsys)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_200_rounds_of_damage(fuse: None, capsys: pytest.CaptureFixture[str]) -> None:
    _run(200, 8, capsys)
