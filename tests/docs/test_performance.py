"""The table of docs/performance.md is complete, says what it measured, and judges as its figures do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench import reading_docs
from tests.bench.reading_docs import DOCUMENT
from tests.bench.reading_targets import FIGURES, ROWS
from tests.bench.report import Report, Row

NUMBER = re.compile(r"[\d,.]+")


def _first_number(text: str) -> float:
    found = NUMBER.search(text)
    assert found is not None, text
    return float(found.group().replace(",", ""))


def test_every_figure_of_the_benchmark_is_in_the_table() -> None:
    lines = reading_docs.read(DOCUMENT.read_text())
    optional = {figure.key for figure in FIGURES.values() if figure.optional}
    assert [line.figure for line in lines if line.figure not in optional] == [
        key for key in FIGURES if key not in optional
    ]


def test_every_row_is_described_and_explained() -> None:
    text = DOCUMENT.read_text()
    described = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    explained = re.findall(r"^### (\w+)$", text.partition("## What limits each row")[2], re.MULTILINE)
    assert described == explained == list(ROWS)


@pytest.mark.parametrize("line", reading_docs.read(DOCUMENT.read_text()), ids=lambda line: line.figure)
def test_a_line_says_whether_its_target_holds(line: reading_docs.Line) -> None:
    figure = FIGURES[line.figure]
    assert line.what
    assert line.ours.endswith(figure.unit)
    assert line.holds in ("yes", "no", "-")
    assert (line.target == "-") == (line.holds == "-") == (figure.at_most is None and figure.ratio is None)
    if line.target == "-":
        return
    limit = _first_number(line.target)
    if figure.at_most is not None:
        missed, near = _first_number(line.ours) > limit, abs(_first_number(line.ours) - limit) <= limit * 0.01
    else:
        missed, near = float(line.ratio) < limit, abs(float(line.ratio) - limit) <= 0.01
    assert near or missed == (line.holds == "no")


def test_a_run_replaces_what_it_measured_and_nothing_else(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{reading_docs.BEGIN}\n{reading_docs.END}\nafter\n")
    runs: tuple[list[Row], ...] = (
        [
            Row("warm files", 0.0123, "s", "local disk", 0.0115, 0.935, "ratio >= 0.9", True, "warm-big"),
            Row("listing", 12.0, "s", target="<= 6.5 s", holds=False, key="listing-cold"),
            Row("a note", 1.0, "s"),
        ],
        [Row("listing", 6.0, "s", target="<= 6.5 s", holds=True, key="listing-cold", median=6.25)],
    )
    for rows in runs:
        reading_docs.write(Report("reading", rows), document)
    listing, warm = reading_docs.read(document.read_text())
    assert (listing.figure, listing.ours, listing.target, listing.holds) == (
        "listing-cold",
        "6 (6.25) s",
        "≤ 6.5 s",
        "yes",
    )
    assert (warm.figure, warm.ours, warm.reference, warm.ratio) == (
        "warm-big",
        "0.0123 s",
        "0.0115 s local disk",
        "0.94",
    )
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")


@pytest.mark.parametrize("damage", [reading_docs.BEGIN, reading_docs.END, "| figure |"])
def test_a_damaged_table_is_not_taken_for_one(tmp_path: Path, damage: str) -> None:
    text = DOCUMENT.read_text()
    assert damage in text
    with pytest.raises(ValueError, match="the"):
        reading_docs.read(text.replace(damage, "", 1))


def test_numbers_have_three_digits() -> None:
    shown = [reading_docs.number(value) for value in (0, 0.00034567, 0.5, 1.234, 12.0, 345.6, 6789.4)]
    assert shown == ["0", "0.000346", "0.5", "1.23", "12", "346", "6,789"]
