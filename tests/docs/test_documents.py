"""The documents point at things that exist, and name the version that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from pachmount import __version__
from pachmount.cli import reference
from pachmount.cli.main import build
from tests.posix.exceptions import EXCEPTIONS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_paths_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    linked = [target for target in re.findall(r"\]\(([^)#]+)", text) if not target.startswith("http")]
    missing = [target for target in linked if not (document.parent / target).exists()]
    named = re.findall(r"`((?:tests|scripts|docs|pachmount)/[\w/.-]+\.(?:py|md))`", text)
    missing += [path for path in named if not (ROOT / path).exists()]
    assert missing == []


def test_every_command_of_the_readme_exists() -> None:
    root = typer.main.get_command(build())
    known = {path.removeprefix("pachmount ") for path, _ in reference.commands(root)}
    used = set(re.findall(r"^ +pachmount ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert used
    assert used <= known


def test_the_changelog_has_the_version() -> None:
    first = re.search(r"^## \[(?:Unreleased\] *— *)?([\w.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first.group(1) in (__version__, "Unreleased")


def test_the_posix_exceptions_are_those_of_the_tests() -> None:
    text = (ROOT / "docs/semantics.md").read_text().split("### POSIX exceptions")[1].split("\n## ")[0]
    listed = dict(re.findall(r"^\| `([\w:]+)` \| (.+) \|$", text, re.MULTILINE))
    assert listed == EXCEPTIONS


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", (ROOT / "docs/semantics.md").read_text()))
    assert len(named) > 50
    missing = {
        f"{file}::{test}"
        for file, test in named
        if not any(f"def {test}(" in path.read_text() for path in (ROOT / "tests").rglob(file))
    }
    assert missing == set()
