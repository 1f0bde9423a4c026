"""The commands of docs/tutorial, run as they stand; the run's output is that of a plain loop."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.box import Box

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial"
COMMANDS = re.findall(r"^    ((?:pachmount|python3) .+)$", (TUTORIAL / "README.md").read_text(), re.MULTILINE)


def contents(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def by_a_loop(photos: Path, target: Path) -> None:
    """What the pipeline's code does, file by file."""
    spec = importlib.util.spec_from_file_location("edges", TUTORIAL / "edges.py")
    assert spec is not None
    assert spec.loader is not None
    edges = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(edges)
    for path in photos.rglob("*.pgm"):
        edges.convert(path, target / path.relative_to(photos))


def test_the_commands_work_and_the_run_does_what_a_loop_does(tmp_path: Path, fuse: None) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs /dev/fuse in a namespace of its own, which is tested elsewhere")
    assert len(COMMANDS) > 9
    here = tmp_path / "here"
    shutil.copytree(TUTORIAL, here)
    box = Box()
    try:
        environment = {**box.env, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for command in COMMANDS:
            done = subprocess.run(
                ["bash", "-c", command], cwd=here, env=environment, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        by_a_loop(here / "photos", tmp_path / "loop")
        assert contents(here / "found") == contents(tmp_path / "loop")
        assert len(contents(here / "found")) == 6
        assert "/circle/" in done.stdout
        box.stop()
        assert not box.log_problems()
    finally:
        box.close()
