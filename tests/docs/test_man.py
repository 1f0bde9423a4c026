"""The man pages: fresh, without a complaint of mandoc, with everything that a page should have."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pachmount.cli.manual import DIRECTORY, pages
from pachmount.errors import ExitCode

ROOT = Path(__file__).parents[2]
PAGES = pages()


def shown(name: str) -> str:
    """The page as a terminal shows it, without bold."""
    done = subprocess.run(
        ["mandoc", "-T", "utf8", "-O", "width=200", ROOT / DIRECTORY / name], capture_output=True, text=True, check=True
    )
    return re.sub(".\b", "", done.stdout)


def test_they_are_fresh() -> None:
    found = {
        str(path.relative_to(ROOT / DIRECTORY)): path.read_text(encoding="utf-8")
        for path in (ROOT / DIRECTORY).glob("man*/*")
    }
    assert found == PAGES, "python -m pachmount.cli.manual"


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_has_no_complaint(name: str) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", ROOT / DIRECTORY / name], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_page_of_the_program() -> None:
    text = shown("man1/pachmount.1")
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "FILES"):
        assert f"\n{heading}\n" in text
    assert "pachmount-mount(1)" in text
    for code in ExitCode:
        assert f"\n       {int(code)} " in text


def test_options_can_be_copied() -> None:
    assert "--commit COMMIT" in shown("man1/pachmount-mount.1")


def test_every_setting_has_its_default() -> None:
    text = shown("man5/pachmount.toml.5")
    assert "cache_size" in text
    assert "Upper limit of the block cache on disk. Default: 10.0 GiB." in text
