"""The documents point at things that exist, and name the version that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pachmount import __version__
from tests.posix.exceptions import EXCEPTIONS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


HOSTS = re.compile(r"(?:https?|grpcs?)://([\w.-]+)")
EXAMPLES = re.compile(
    r"(.*\.)?(example|example\.(com|net|org)|localhost|cluster\.local|svc|HOST|0\.0\.0\.0|127\.0\.0\.1)"
)

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def anchors(document: Path) -> set[str]:
    """What its headings can be linked by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_links_and_paths_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    missing = []
    for link in _LINK.findall(text):
        target, _, anchor = link.partition("#")
        path = document.parent / target if target else document
        if not link.startswith("http") and (not path.exists() or (anchor and anchor not in anchors(path))):
            missing.append(link)
    named = re.findall(r"`((?:tests|scripts|docs|pachmount|lab)/[\w/.-]+\.(?:py|md|ts|tsx))`", text)
    missing += [path for path in named if not (ROOT / path).exists()]
    missing += [path for path in re.findall(r"\b(scripts/[\w-]+)", text) if not (ROOT / path).exists()]
    assert missing == []


@each_document
def test_hosts_in_examples_are_example_domains(document: Path) -> None:
    text = _LINK.sub("", document.read_text())
    assert [host for host in HOSTS.findall(text) if not EXAMPLES.fullmatch(host)] == []


def test_the_index_has_every_page() -> None:
    pages = {path for path in (ROOT / "docs").glob("*.md") if path.name != "README.md"}
    linked = {ROOT / "docs" / link.partition("#")[0] for link in _LINK.findall((ROOT / "docs/README.md").read_text())}
    assert pages - linked == set()


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
