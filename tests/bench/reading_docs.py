"""The table of docs/performance.md, written by `scripts/bench reading --write-docs`, and read again by its test."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import grpc

from tests.bench.reading_targets import FIGURES
from tests.bench.report import Report, Row, machine

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- written by scripts/bench reading --write-docs -->", "<!-- end of what it writes -->"
COLUMNS = ("figure", "what", "ours", "reference", "ratio", "target", "holds", "commit")


@dataclass(frozen=True)
class Line:
    """One line of the table, as text."""

    figure: str
    what: str
    ours: str
    reference: str
    ratio: str
    target: str
    holds: str
    commit: str


def write(report: Report, document: Path = DOCUMENT) -> None:
    """Put the figures of a run into the document; those that it did not measure stay as they are."""
    text = document.read_text()
    about = machine()
    lines = {line.figure: line for line in read(text)}
    lines |= {row.key: _line(row, about["commit"]) for row in report.rows if row.key}
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    system = f"{about['processor']}, {about['memory']}, {about['system']}, grpcio {grpc.__version__}"
    table = [f"Last run {about['date']}: {system}.", "", _cells(COLUMNS), _cells("---" for _ in COLUMNS)]
    table += [_cells(vars(lines[key]).values()) for key in FIGURES if key in lines]
    document.write_text("\n".join([before + BEGIN, "", *table, "", END + after]))


def read(text: str) -> list[Line]:
    """The lines of the table in a document; raises ValueError when it is not well-formed."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError("the marks of the table are missing")
    part = text.partition(BEGIN)[2].partition(END)[0]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in part.splitlines() if line.startswith("|")]
    if rows and (rows[0] != list(COLUMNS) or any(cell.strip("-") for cell in rows[1])):
        raise ValueError("the table has another head")
    return [Line(*row) for row in rows[2:]]


def number(value: float) -> str:
    """Three digits that count, as people write them."""
    if not value:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _cells(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _line(row: Row, commit: str) -> Line:
    reference = "-"
    if row.reference_figure is not None:
        reference = f"{_figure(row.reference_figure, row.reference_median, row.unit)} {row.reference}"
    return Line(
        figure=row.key,
        what=f"… {row.what.strip()}" if row.what.startswith(" ") else row.what,
        ours=_figure(row.figure, row.median, row.unit),
        reference=reference,
        ratio="-" if row.ratio is None else f"{row.ratio:.2f}",
        target=row.target.replace("<=", "≤").replace(">=", "≥").strip() or "-",
        holds="-" if row.holds is None else "yes" if row.holds else "no",
        commit=commit,
    )


def _figure(best: float, median: float | None, unit: str) -> str:
    typical = "" if median is None else f" ({number(median)})"
    return f"{number(best)}{typical} {unit}".strip()
