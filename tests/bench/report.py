"""Figures beside references that were measured in the same run: as a table for people, as JSON for comparisons."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_OUTPUT = Path(__file__).resolve().parents[2] / "build" / "bench"


@dataclass
class Row:
    """One figure. `ratio` is figure : reference in speed, so that more is better; the target is one of the two.

    Where there were several rounds, `figure` and `reference_figure` are the best; the medians stand beside them.
    """

    what: str
    figure: float
    unit: str
    reference: str = ""
    reference_figure: float | None = None
    ratio: float | None = None
    target: str = ""
    holds: bool | None = None
    key: str = ""
    median: float | None = None
    reference_median: float | None = None


@dataclass
class Report:
    """All figures of a run."""

    name: str
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print(_line(row), flush=True)

    def print_header(self) -> None:
        for key, value in machine().items():
            print(f"{key}: {value}")
        print(f"{'':52} {'figure':>14}   {'reference':>14} {'':22} {'ratio':>6}  target")

    def save(self) -> Path:
        _OUTPUT.mkdir(parents=True, exist_ok=True)
        path = _OUTPUT / f"{self.name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
        path.write_text(json.dumps({"machine": machine(), "rows": [asdict(row) for row in self.rows]}, indent=1) + "\n")
        return path

    @property
    def holds(self) -> bool:
        return all(row.holds is not False for row in self.rows)


def _line(row: Row) -> str:
    reference = "" if row.reference_figure is None else f"{row.reference_figure:10.3f} {row.unit:4}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    verdict = "" if row.holds is None else "  holds" if row.holds else "  DOES NOT HOLD"
    figure = f"{row.figure:9.3f} {row.unit:4}"
    return f"{row.what:52} {figure:>14}   {reference:>14} {row.reference:22} {ratio:>6}  {row.target}{verdict}"


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=_OUTPUT.parents[1]
    )
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "processor": f"{os.cpu_count()} x {processor}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load": " ".join(f"{one:.1f}" for one in os.getloadavg()),
        "commit": commit.stdout.strip(),
    }


def seconds(run: Callable[[], object], repeat: int = 1) -> float:
    """The least of `repeat` measurements; what else the machine does only ever adds."""
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best
