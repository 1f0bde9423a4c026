"""What people see of a run: how far it is, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pachmount.cli import output
from pachmount.cli.state import State

if TYPE_CHECKING:
    from pachmount.running.job import Tally

SHOWN = 20
"""Datums that the table has without --verbose: all if there are no more, else the failed ones first."""
_SHORT_ID = 12
_LAST_LINES = 5
_COLOURS = {"success": "green", "skipped": "cyan", "recovered": "yellow", "failed": "bold red"}


def show(bar: output.Bar, tally: Tally) -> None:
    """Show how far it is."""
    failed = f", {tally.failed:,} failed" if tally.failed else ""
    text = f"{len(tally.outcomes):,}/{tally.total:,} datums{failed}, {tally.running} running"
    bar.update(text, len(tally.outcomes), tally.total)


def table(answer: dict[str, Any], *, everything: bool) -> None:
    """The datums: all if they are few, else those that need attention."""
    datums = answer["datums"]
    shown = (
        datums
        if everything or len(datums) <= SHOWN
        else [one for one in datums if one["state"] in ("failed", "recovered")]
    )
    if not shown:
        return
    rows = []
    for one in shown if everything else shown[:SHOWN]:
        files = " ".join(one["files"][:3]) + (f" and {len(one['files']) - 3} more" if len(one["files"]) > 3 else "")
        code = "" if one["exit_code"] is None else str(one["exit_code"])
        rows.append(
            [
                str(one["index"]),
                one["id"][:_SHORT_ID],
                one["state"],
                str(one["tries"]),
                code,
                output.latency(one["seconds"]),
                files,
            ]
        )
    output.table(["DATUM", "ID", "STATE", "TRIES", "EXIT", "TIME", "FILES"], rows)
    if len(shown) > len(rows):
        output.line(f"... and {len(shown) - len(rows):,} more (--verbose or --json has all)")


def conclusion(state: State, answer: dict[str, Any]) -> None:
    """How it went, and where everything is."""
    counts = [f"{answer[name]:,} {name}" for name in _COLOURS if answer[name]]
    left = answer["total"] - sum(answer[name] for name in _COLOURS)
    if left:
        counts.append(f"{left:,} not run")
    output.line(
        f"{output.count(answer['total'], 'datum')}: {', '.join(counts)}", "green" if answer["succeeded"] else "bold red"
    )
    if "output_files" in answer:
        size = f"{output.count(answer['output_files'], 'file')} ({output.size(answer['output_bytes'])})"
        for place in ("out", "commit"):
            if place in answer:
                output.line(f"{size} in {answer[place]}")
    _first_failure(state, answer)
    state.note(f"logs and outputs: {answer['run_dir']}/datums")


def _first_failure(state: State, answer: dict[str, Any]) -> None:
    from pachmount.running.reports import tail

    first = next((one for one in answer["datums"] if one["state"] == "failed"), None)
    if first is None:
        return
    why = first["why"] or f"exit code {first['exit_code']}"
    state.note(f"datum {first['index']} failed: {why}")
    for line in tail(Path(first["stderr"]), 4096).splitlines()[-_LAST_LINES:]:
        state.note(f"  {line}")
    state.hint(f"less {first['stderr']}")
