"""An installed wheel does the main job, with each Python of this machine and nothing but what pachmount depends on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SMOKE = Path(__file__).with_name("smoke.py")
VERSIONS = ("3.10", "3.11", "3.12", "3.13")


def pythons() -> list[str]:
    """Each of these versions that is here: on the PATH, or put there by pyenv, whose links may lead nowhere."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = []
    for version in VERSIONS:
        built = sorted(root.glob(f"{version}.*/bin/python"))
        candidates = [shutil.which(f"python{version}"), *map(str, built)]
        found += [one for one in candidates if one and _is(one, version)][:1]
    return found


def _is(python: str, version: str) -> bool:
    code = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() == version


def smoke(python: Path | str, binding: str = "") -> None:
    done = subprocess.run(
        [python, SMOKE, *([binding] if binding else [])], capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all well" in done.stdout


@pytest.mark.usefixtures("fuse")
def test_this_python() -> None:
    smoke(sys.executable)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("fuse")
@pytest.mark.parametrize("python", pythons())
def test_a_clean_environment(python: str, wheel: Path, tmp_path: Path) -> None:
    subprocess.run([python, "-m", "venv", tmp_path], check=True)
    pip = [tmp_path / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", wheel], check=True)
    subprocess.run([*pip, "check"], check=True)
    smoke(tmp_path / "bin" / "python")
    subprocess.run([*pip, "install", "-q", f"pachmount[fuse3] @ file://{wheel}"], check=True)
    smoke(tmp_path / "bin" / "python", "mfusepy")
