"""`scripts/bench reading` measures all that it promises. Not how fast: timings are for the benchmark alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pachmount.pfs.client import PfsClient
from tests.bench.reading_targets import FIGURES, ROWS
from tests.localpfs.servers import running

pytestmark = pytest.mark.usefixtures("fuse")
ROOT = Path(__file__).resolve().parents[2]


def bench(*arguments: str) -> list[dict[str, Any]]:
    """The figures of a run, of which no file stays."""
    command = [sys.executable, "-m", "tests.bench", "reading", "--scale", "tiny", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    stored = Path(done.stdout.rpartition("stored as ")[2].strip())
    rows: list[dict[str, Any]] = json.loads(stored.read_text())["rows"]
    stored.unlink()
    return [row for row in rows if row["key"]]


def expected(rows: Sequence[str]) -> list[str]:
    return [key for key, figure in FIGURES.items() if figure.row in rows and not figure.optional]


def test_some_rows_on_a_server_of_ones_own(tmp_path: Path) -> None:
    with running(tmp_path / "store", "127.0.0.1:0") as server:
        figures = bench("--only", "listing", "change", "--address", server.address, "--dir", str(tmp_path))
        assert [figure["key"] for figure in figures] == expected(["listing", "change"])
        share = next(figure for figure in figures if figure["key"] == "change-bytes")
        assert 0 < share["figure"] <= 1.1
        with PfsClient(server.address) as client:
            assert client.list_repos() == []


@pytest.mark.long
def test_every_row() -> None:
    figures = bench("--soak", "0.05")
    assert [figure["key"] for figure in figures] == [*expected(ROWS), "memory-growth"]
    assert all(figure["figure"] >= 0 for figure in figures if figure["key"] != "memory-growth")
