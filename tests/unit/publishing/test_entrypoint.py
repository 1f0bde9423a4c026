"""The program that runs published code, run as a pipeline does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pachmount.publishing.plan import entrypoint


def run(directory: Path, code: str, **files: str) -> subprocess.CompletedProcess[str]:
    """Run it with that user_code.py and other files (`.` in their names as `_`)."""
    for name, text in {"entrypoint_py": entrypoint().text, "user_code_py": code, **files}.items():
        stem, _, suffix = name.rpartition("_")
        (directory / f"{stem}.{suffix}").write_text(text)
    command = [sys.executable, "-u", str(directory / "entrypoint.py")]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/", check=False)


def test_code_runs_as_the_main_program_beside_its_files(tmp_path: Path) -> None:
    code = "import helper\nif __name__ == '__main__':\n    print('sum', helper.two + 1)\n"
    done = run(tmp_path, code, helper_py="two = 2\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "sum 3"


def test_requirements_are_installed_first(tmp_path: Path) -> None:
    done = run(tmp_path, "print('ran')", requirements_txt="./no-such-package\n")
    assert done.returncode != 0
    assert "no-such-package" in done.stderr
    assert "ran" not in done.stdout


def test_ipythons_commands_work_where_it_is_installed(tmp_path: Path) -> None:
    done = run(tmp_path, "get_ipython().system('echo from a shell')\n")
    assert done.returncode == 0, done.stderr
    assert "from a shell" in done.stdout


def test_without_ipython_they_say_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "IPython.py").write_text("raise ImportError")
    done = run(tmp_path, "get_ipython().system('echo from a shell')\n")
    assert done.returncode != 0
    assert "add ipython to its requirements" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("code", ["raise SystemExit(7)", "import sys; sys.exit(7)"])
def test_the_exit_code_is_that_of_the_code(tmp_path: Path, code: str) -> None:
    assert run(tmp_path, code).returncode == 7
