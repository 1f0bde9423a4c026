"""Tests that failed once and passed the second time: listed with their output, and kept for the next runs.

    python -m tests.tools.unsteady FIRST.xml SECOND.xml RECORD.json

The XML files are what pytest writes with --junitxml in the two runs. The record has, for each such test, how often that
was seen, when last, and the output of the last failure.
"""

from __future__ import annotations

import json
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

SHOWN_LINES = 40


def failures(file: Path) -> dict[str, str]:
    """The tests of a run that failed, with what pytest told of each."""
    found: dict[str, str] = {}
    for case in ET.parse(file).iter("testcase"):
        told = [element for element in case if element.tag in ("failure", "error")]
        if told:
            found[f"{case.get('classname')}::{case.get('name')}"] = "\n".join(each.text or "" for each in told)
    return found


def passed(file: Path) -> set[str]:
    """The tests of a run that neither failed nor were skipped."""
    cases = ET.parse(file).iter("testcase")
    return {
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if not any(element.tag in ("failure", "error", "skipped") for element in case)
    }


def remember(record: Path, unsteady: dict[str, str], now: float) -> dict[str, Any]:
    """Add tests that were unsteady to the record; the whole record. A damaged one is begun anew."""
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        known = {}
    for name, output in unsteady.items():
        before = known.get(name, {}).get("times", 0)
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        known[name] = {"times": before + 1, "last": when, "output": output}
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
    return dict(known)


def report(unsteady: dict[str, str], record: dict[str, Any]) -> str:
    """What a person is told at the end of a run; "" if no test was unsteady."""
    lines = []
    for name, output in unsteady.items():
        lines += [f"-- {name}: failed once, passed the second time; seen {record[name]['times']} times here"]
        lines += [f"   {line}" for line in output.splitlines()[-SHOWN_LINES:]]
    if lines:
        lines.insert(0, f"== {len(unsteady)} unsteady tests, each to be mended")
    return "\n".join(lines)


def main(first: Path, second: Path, record: Path) -> int:
    """Compare two runs, keep and print what differs."""
    again = passed(second)
    unsteady = {name: output for name, output in failures(first).items() if name in again}
    text = report(unsteady, remember(record, unsteady, time.time()))
    if text:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:4])))
