"""The official pachyderm-sdk as a client that we did not write; sdk_checks.py says what it does."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.localpfs.sdk_venv import sdk_python
from tests.localpfs.servers import running

_PROGRAM = Path(__file__).with_name("sdk_checks.py")
_CHECKS = re.findall(r"^def (check_\w+)", _PROGRAM.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter that has the SDK."""
    return sdk_python()


@pytest.fixture(scope="module")
def problems(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What went wrong in each check, "" if nothing did."""
    elsewhere = os.environ.get("PACHMOUNT_TEST_PACHD")
    if elsewhere:
        return _run(python, elsewhere)
    with running(tmp_path_factory.mktemp("sdk") / "store", "127.0.0.1:0") as server:
        return _run(python, server.address)


def _run(python: Path, address: str) -> dict[str, str]:
    command = [python, "-W", "error", _PROGRAM, address.removeprefix("grpc://")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PACH_", "PACHD_"))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=environment)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if len(lines) < len(_CHECKS) or (done.returncode and not any(line["problem"] for line in lines)):
        raise RuntimeError(f"the checks ended with {done.returncode}:\n{done.stderr}")
    return {line["check"]: line["problem"] for line in lines}


@pytest.mark.parametrize("check", _CHECKS)
def test_sdk(problems: dict[str, str], check: str) -> None:
    assert not problems[check], problems[check]
