"""The crash harness: 20 rounds in the normal run, 200 with `scripts/test --long`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.localpfs.crash import Commit, Harness, _difference


def _run(directory: Path, rounds: int, seed: int, record: pytest.CaptureFixture[str]) -> None:
    harness = Harness(directory, seed)
    harness.run(rounds)
    with record.disabled():
        print("", *harness.lines(), sep="\n  ")
    assert harness.rounds == rounds
    assert sum(harness.calls.values()) > rounds


def test_20_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run(tmp_path, 20, 4, capsys)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_200_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run(tmp_path, 200, 5, capsys)


def test_the_harness_sees_differences() -> None:
    one = Commit(True, {"/a": b"1"})
    assert _difference((one,), (one,)) == ""
    for other in (None, (), (one, one), (Commit(False, {"/a": b"1"}),), (Commit(True, {"/a": b"2"}),)):
        assert _difference((one,), other)
