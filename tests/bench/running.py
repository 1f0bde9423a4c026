"""`pachmount run`: what a datum costs beside its command, over many tiny datums."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.report import Report, Row, seconds
from tests.integration.box import Box

TARGET_MS = 40.0
COPY = ("sh", "-c", "exec cp $tiny ${out-/pfs/out}")
"""Reads the datum's file and writes one."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench running", description=__doc__)
    parser.add_argument("--datums", type=int, default=1000)
    parser.add_argument("--jobs", "-j", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    report = Report("running")
    report.print_header()
    box = Box()
    try:
        measure(box, report, options.datums, options.jobs, options.rounds)
    finally:
        box.run("daemon", "stop")
        box.close()
    print(f"stored as {report.save()}")
    return 0 if report.holds else 1


def measure(box: Box, report: Report, datums: int, jobs: int, rounds: int) -> None:
    """Add the rows for so many datums, so many at a time."""
    files = box.root / "tiny"
    files.mkdir()
    for number in range(datums):
        (files / f"{number:06}").write_text(f"content of {number}")
    box.ok("import", str(files), "tiny", timeout=600)
    (box.root / "spec.yaml").write_text('input: {pfs: {repo: tiny, glob: "/*"}}\n')
    plain = min(seconds(lambda: _plain(files, box.root / "plain")) for _ in range(rounds)) / datums
    walls, inside = zip(*(_run(box, jobs) for _ in range(rounds)), strict=True)
    start = min(seconds(lambda: _run(box, jobs, "--datum", "0")) for _ in range(rounds))
    each = min(inside) * 1000
    overhead = (min(walls) - start) / datums * jobs * 1000 - plain * 1000
    what = f"{datums:,} datums, -j {jobs}"
    row = Row(f"overhead of a datum ({what})", overhead, "ms", "the command alone", plain * 1000)
    row.target, row.holds = f"<= {TARGET_MS:g}", overhead <= TARGET_MS
    report.add(row)
    report.add(Row("  a datum in its worker, with the command", each, "ms"))
    report.add(Row("  the whole run", min(walls), "s"))
    report.add(Row("  a run of one datum", start, "s"))


def _run(box: Box, jobs: int, *arguments: str) -> tuple[float, float]:
    """Seconds of a whole run, and of a datum in it (the mean)."""
    answer: dict[str, Any] = {}

    def run() -> None:
        done = box.ok("run", "spec.yaml", "--again", "--json", "-j", str(jobs), *arguments, "--", *COPY, timeout=3600)
        answer.update(json.loads(done))

    wall = seconds(run)
    assert answer["success"] == answer["total"], answer
    return wall, sum(one["seconds"] for one in answer["datums"]) / answer["total"]


def _plain(files: Path, out: Path) -> None:
    """The same command in a plain loop."""
    out.mkdir(exist_ok=True)
    for file in files.iterdir():
        env = {"tiny": str(file), "out": str(out), "PATH": "/usr/bin:/bin"}
        subprocess.run(COPY, env=env, check=True)


if __name__ == "__main__":
    sys.exit(main())
