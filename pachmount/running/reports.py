"""What became of a run, for other programs: as JSON-ready objects, and as JUnit's XML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from pachmount.errors import ConfigurationError
from pachmount.running.job import Numbered, Tally
from pachmount.running.messages import Outcome
from pachmount.running.records import RunDirectory
from pachmount.running.worker import STDERR, STDOUT

STATES = ("success", "skipped", "recovered", "failed")
_MOST_OUTPUT = 64 << 10
_LATEST = "not run"


def summary(datums: Sequence[Numbered], tally: Tally, directory: RunDirectory) -> dict[str, Any]:
    """Every datum, and how many there are of each state."""
    outcomes = tally.outcomes.values()
    counts = {state: sum(outcome.state == state for outcome in outcomes) for state in STATES}
    return {
        "succeeded": tally.succeeded,
        "total": tally.total,
        **counts,
        "run_dir": str(directory.path),
        "datums": [_datum(one, tally.outcomes.get(one.index), directory) for one in datums],
    }


def _datum(one: Numbered, outcome: Outcome | None, directory: RunDirectory) -> dict[str, Any]:
    where = directory.of_datum(one.datum.id)
    return {
        "index": one.index,
        "id": one.datum.id,
        "state": outcome.state if outcome else _LATEST,
        "tries": outcome.tries if outcome else 0,
        "exit_code": outcome.exit_code if outcome else None,
        "seconds": round(outcome.seconds, 6) if outcome else 0.0,
        "why": outcome.why if outcome else "",
        "files": [f"{file.input}:{file.path}" for file in one.datum.files],
        "stdout": str(where / STDOUT),
        "stderr": str(where / STDERR),
    }


def write_junit(path: Path, name: str, datums: Sequence[Numbered], tally: Tally, directory: RunDirectory) -> None:
    """Write a test suite with a test case for each datum. Raises ConfigurationError."""
    name = _clean(name)
    suite = ElementTree.Element("testsuite", name=name, tests=str(len(datums)), failures=str(tally.failed), errors="0")
    suite.set("skipped", str(tally.total - len(tally.outcomes)))
    suite.set("time", f"{sum(outcome.seconds for outcome in tally.outcomes.values()):.3f}")
    for one in datums:
        outcome = tally.outcomes.get(one.index)
        title = f"datum {one.index} {' '.join(f'{file.input}:{file.path}' for file in one.datum.files[:3])}"
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=_clean(title))
        case.set("time", f"{outcome.seconds if outcome else 0.0:.3f}")
        if outcome is None:
            ElementTree.SubElement(case, "skipped", message=_LATEST)
        elif outcome.state == "failed":
            said = _clean(outcome.why or f"exit code {outcome.exit_code}")
            ElementTree.SubElement(case, "failure", message=said).text = said
            for file in (STDOUT, STDERR):
                text = tail(directory.of_datum(one.datum.id) / file, _MOST_OUTPUT)
                ElementTree.SubElement(case, f"system-{file[3:]}").text = _clean(text)
    try:
        ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise ConfigurationError(f"cannot write '{path}'", error.strerror or str(error)) from error


def tail(file: Path, most: int) -> str:
    """The end of a log."""
    try:
        with open(file, "rb") as log:
            log.seek(max(0, file.stat().st_size - most))
            return log.read().decode(errors="replace")
    except OSError:
        return ""


def _clean(text: str) -> str:
    """Without what XML cannot hold: control characters, surrogates, U+FFFE and U+FFFF."""
    return "".join(character for character in text if character in "\t\n\r" or _is_in_xml(character))


def _is_in_xml(character: str) -> bool:
    return " " <= character < "\ud800" or "\ue000" <= character < "\ufffe" or character >= "\U00010000"
