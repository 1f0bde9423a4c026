"""Every recorded scenario, replayed against the embedded server or the one in $PACHMOUNT_TEST_PACHD."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.localpfs.replay import LEFT_OUT, replay
from tests.localpfs.servers import connect, running

_PROJECT = Path(__file__).resolve().parents[2]
_FOLDER = Path(os.environ.get("PACHMOUNT_CONFORMANCE", _PROJECT.parent / "shared" / "conformance"))
_SCENARIOS = sorted(_FOLDER.glob("[0-9][0-9]-*.json"))


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    elsewhere = os.environ.get("PACHMOUNT_TEST_PACHD")
    if elsewhere:
        with connect(elsewhere) as opened:
            yield opened
        return
    root = tmp_path_factory.mktemp("pfs")
    with running(root / "store", f"unix://{root}/s") as server:
        yield server.channel


@pytest.mark.skipif(not _SCENARIOS, reason="no recorded scenarios beside the project; set PACHMOUNT_CONFORMANCE")
@pytest.mark.parametrize("path", _SCENARIOS or [Path("none")], ids=lambda path: path.stem)
def test_scenario(channel: grpc.Channel, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = replay(channel, path)
    with capsys.disabled():
        print(f"\n  {path.stem}: {report.passed} of {report.passed + len(report.differences)} steps passed", end="")
        print(f", {report.skipped} not for this server" if report.skipped else "", end=" ")
    assert not report.differences, "\n".join(report.differences)
    assert report.passed


def test_few_steps_are_left_out() -> None:
    assert len(LEFT_OUT) < 10
    assert all(LEFT_OUT.values())
