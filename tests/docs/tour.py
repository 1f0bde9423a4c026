"""The picture of the walk in README, docs/images/tour.svg, from a real run: `scripts/tour`."""

from __future__ import annotations

import io
import re
from html import unescape
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.docs import walk
from tests.integration.box import Box

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs/images/tour.svg"
COLUMNS = 100
FIRST, LAST = "pachmount import", "pachmount status"
"""How the first and the last command of the tour begin."""

_STYLES = [
    (re.compile(r"^\$ (?P<style>.*)$", re.MULTILINE), "bold"),
    (re.compile(r"^(?P<style>hint: .*|started .*|made .*)$", re.MULTILINE), "bright_black"),
    (re.compile(r"^(?P<style>\+.*)$", re.MULTILINE), "green"),
]
_FONT = re.compile(r"@font-face \{.*?\}\n", re.DOTALL)
"""Rich's picture loads its font from the network; the reader's own is good enough."""
_LINE = re.compile(r'<text class="[^"]*-r\d+" x="[\d.]+" y="([\d.]+)"[^>]*>(.*?)</text>')


def chosen() -> list[walk.Step]:
    """The commands of README from the first import to the first status."""
    steps = [step for step in walk.steps(ROOT / "README.md") if not step.command.startswith("python3 ")]
    commands = [step.command for step in steps]
    first = next(number for number, command in enumerate(commands) if command.startswith(FIRST))
    last = next(number for number, command in enumerate(commands) if command.startswith(LAST))
    return steps[first : last + 1]


def record() -> str:
    """Run README from its beginning to the end of the tour; the tour as SVG."""
    steps, wanted = walk.steps(ROOT / "README.md"), chosen()
    box = Box()
    try:
        results = walk.run_in(box, steps[: steps.index(wanted[-1]) + 1])[-len(wanted) :]
    finally:
        box.close()
    assert all(result.code == 0 for result in results), results
    shown = "\n".join(f"$ {step.command}\n{result.printed}" for step, result in zip(wanted, results, strict=True))
    text = Text(shown)
    for pattern, style in _STYLES:
        for found in pattern.finditer(shown):
            text.stylize(style, *found.span("style"))
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(text, soft_wrap=False)
    return _FONT.sub("", console.export_svg(title="pachmount", unique_id="tour"))


def lines(svg: str) -> list[str]:
    """What the picture has to read, line by line."""
    rows: dict[float, str] = {}
    for height, piece in _LINE.findall(svg):
        rows[float(height)] = rows.get(float(height), "") + unescape(piece).replace("\xa0", " ")
    return [rows[height].rstrip() for height in sorted(rows)]


if __name__ == "__main__":
    PICTURE.write_text(record(), encoding="utf-8")
