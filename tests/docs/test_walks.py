"""README and the pages of docs that are walks: every command, in order, with what it is shown to print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs import tour, walk
from tests.integration.box import Box

ROOT = Path(__file__).resolve().parents[2]
WALKS = {name: ROOT / name for name in ("README.md", "docs/first-steps.md", "docs/writing-and-conflicts.md")}


@pytest.fixture
def box(fuse: None) -> Iterator[Box]:
    made = Box()
    yield made
    made.close()


@pytest.mark.parametrize("document", WALKS.values(), ids=WALKS)
def test_every_command_does_what_the_page_shows(document: Path, box: Box) -> None:
    steps = walk.steps(document)
    results = walk.run_in(box, steps)
    assert len(results) == len(steps) > 12
    for step, result in zip(steps, results, strict=True):
        told = f"$ {step.command}\n{result.printed}"
        assert (result.code != 0) == step.fails, f"exit {result.code}: {told}"
        assert step.prints(result.printed), f"{told}\n--- shown:\n{step.shown}"
    box.stop()
    assert not box.log_problems()


def test_ids_and_holes_are_read() -> None:
    step = walk.Step("x", "at dd25e3f4, pid …\n…\nend")
    assert step.prints("at 01234567, pid 5\nmore (and)\nmore\nend\n")
    assert not step.prints("at master, pid 5\nmore\nend")
    assert not step.prints("at 01234567, pid 5\nmore\nend\nand")


def test_the_tour_is_the_walk_of_the_readme() -> None:
    shown = [line.removeprefix("$ ") for line in tour.lines(tour.PICTURE.read_text()) if line.startswith("$ ")]
    assert shown == [step.command for step in tour.chosen()]
    assert len(shown) > 5
