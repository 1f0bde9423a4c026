"""`scripts/test` forgets no test that failed once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

TESTS = """
import pathlib
import pytest

def test_steady():
    pass

@pytest.mark.parametrize("n", [1])
def test_unsteady(n):
    seen = pathlib.Path(__file__).with_suffix(".seen")
    if not seen.exists():
        seen.touch()
        assert n == 2, "as on a busy machine"

def test_broken():
    raise ValueError("always")
"""


def run(directory: Path, xml: str, *options: str) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--rootdir", str(directory), f"--junitxml={xml}"]
    return subprocess.run([*command, *options, "test_it.py"], cwd=directory, capture_output=True, timeout=60).returncode


def test_a_test_that_failed_once_is_listed_and_kept(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    record = tmp_path / "build" / "unsteady.json"
    for times in (1, 2):
        (tmp_path / "test_it.seen").unlink(missing_ok=True)
        assert run(tmp_path, "first.xml") == 1
        assert run(tmp_path, "second.xml", "--last-failed") == 1
        command = [
            sys.executable,
            "-m",
            "tests.tools.unsteady",
            tmp_path / "first.xml",
            tmp_path / "second.xml",
            record,
        ]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        assert "1 unsteady tests" in told
        assert "test_it::test_unsteady[1]: failed once" in told
        assert "as on a busy machine" in told
        assert "always" not in told
        kept = json.loads(record.read_text())
        assert list(kept) == ["test_it::test_unsteady[1]"]
        assert kept["test_it::test_unsteady[1]"]["times"] == times


def test_a_damaged_record_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    assert run(tmp_path, "first.xml") == 1
    (tmp_path / "record.json").write_text("{")
    files = [str(tmp_path / name) for name in ("first.xml", "first.xml", "record.json")]
    done = subprocess.run([sys.executable, "-m", "tests.tools.unsteady", *files], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"")
    assert json.loads((tmp_path / "record.json").read_text()) == {}
