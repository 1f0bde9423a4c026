"""What people and scripts read: lines, tables, JSON, sizes and times. The answer goes to stdout, the rest to stderr.

Rich draws what moves (progress bars, spinners); lines are coloured here, by the same rules, because importing Rich
costs more than a short command does.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from pachmount.errors import PachmountError
from pachmount.names import printable

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

SHORT_WORK = 0.5
"""Seconds of work that nobody needs a progress bar for."""
SHORT_COMMIT = 8
"""How much of a commit id tables and messages show; JSON always has all of it."""


_CODES = {"bold": "1", "green": "32", "yellow": "33", "cyan": "36", "bold red": "1;31"}


_COMMANDING = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
"""What JSON need not escape, but a terminal may take for a command, or cannot show."""


class OutputClosedError(Exception):
    """Whoever reads our answer has seen enough."""


def coloured(stream: TextIO) -> bool:
    """Colour only on a terminal; never with NO_COLOR or TERM=dumb, and except for these always with FORCE_COLOR."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or os.environ.get("TTY_COMPATIBLE") == "1" or stream.isatty()


def styled(text: str, style: str, stream: TextIO) -> str:
    """The text in colour, if `stream` takes it; `style` "" for none."""
    return f"\033[{_CODES[style]}m{text}\033[0m" if style and coloured(stream) else text


def shown(text: str) -> str:
    """A line as stdout takes it: as it is for programs; on a terminal, as in `ls`, without what could command it."""
    return printable(text) if sys.stdout.isatty() else text


def line(text: str, style: str = "") -> None:
    """A line of the answer."""
    print(styled(shown(text), style, sys.stdout))  # noqa: T201


def text(content: str) -> None:
    """An answer of many lines that is for other programs to read."""
    sys.stdout.write("".join(map(_kept_line, content.splitlines(keepends=True))) if sys.stdout.isatty() else content)


def _kept_line(text: str) -> str:
    body = text.removesuffix("\n")
    return "\t".join(map(printable, body.split("\t"))) + text[len(body) :]


def labelled(label: str, style: str, text: str) -> None:
    """`label: text` on stderr, the label in colour."""
    print(f"{styled(f'{label}:', style, sys.stderr)} {printable(text)}", file=sys.stderr)  # noqa: T201


def note(text: str) -> None:
    """A line beside the answer, on stderr."""
    print(printable(text), file=sys.stderr)  # noqa: T201


def hint(text: str) -> None:
    """What to do next, on stderr."""
    labelled("hint", "cyan", text)


def error(failure: PachmountError) -> None:
    """`error: what — why` and `hint: …` on stderr."""
    labelled("error", "bold red", _one_line(str(failure)))
    if failure.hint:
        hint(_one_line(failure.hint))


def json_answer(value: Any) -> None:
    """One JSON document on stdout; pydantic models are dumped."""
    print(_json(value, indent=2))  # noqa: T201


def json_line(value: Any) -> None:
    """One JSON document on a line of stdout, at once: one of many."""
    print(_json(value), flush=True)  # noqa: T201


def _json(value: Any, indent: int | None = None) -> str:
    """JSON that shows nothing to a terminal but characters: what is none is escaped, also where JSON need not."""
    text = json.dumps(plain(value), indent=indent, ensure_ascii=False)
    return _COMMANDING.sub(lambda found: json.dumps(found[0])[1:-1], text)


def clear_screen() -> None:
    """Begin anew at the top of the terminal."""
    sys.stdout.write("\033[H\033[2J")


def json_error(failure: PachmountError) -> None:
    """The error as one line of JSON on stderr, for callers that asked for JSON."""
    data = {**failure.to_dict(), "exit_code": int(failure.exit_code)}
    print(_json(data), file=sys.stderr)  # noqa: T201


def json_stream(values: Iterable[Any]) -> None:
    """A JSON array on stdout, one element a line, written as they come."""
    separator = "["
    for value in values:
        print(separator + _json(value), end="")  # noqa: T201
        separator = ",\n"
    print("[]" if separator == "[" else "]")  # noqa: T201


def plain(value: Any) -> Any:
    """Models and namespaces as dictionaries, lists of them as lists of dictionaries."""
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, SimpleNamespace):
        return plain(vars(value))
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump is not None else value


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns, as wide as they need to be: nothing is cut, so that a pipe sees everything."""
    rows = [[shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    line(_aligned(header, widths), "bold")
    for row in rows:
        print(_aligned(row, widths))  # noqa: T201


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


class Bar:
    """One progress bar on stderr that leaves nothing behind; silent where nobody watches and for short work."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled and sys.stderr.isatty()
        self._started = time.monotonic()
        self._progress: Progress | None = None
        self._task: Any = None

    @property
    def visible(self) -> bool:
        """Whether anybody can see it."""
        return self._enabled

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def update(self, text: str, done: int, total: int) -> None:
        """Show how far the work is."""
        if not self._enabled or time.monotonic() - self._started < SHORT_WORK:
            return
        if self._progress is None:
            self._progress = _progress_columns()
            self._task = self._progress.add_task(printable(text), total=total)
            self._progress.start()
        self._progress.update(self._task, description=printable(text), completed=done, total=total)


def _progress_columns() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


def progress(*, enabled: bool) -> Bar:
    """A bar for work that may take long; enter it as a context."""
    return Bar(enabled=enabled)


def waiting(text: str, *, enabled: bool = True) -> AbstractContextManager[object]:
    """A spinner on a terminal's stderr while something takes its time."""
    from contextlib import nullcontext

    if not (enabled and sys.stderr.isatty()):
        return nullcontext()
    from rich.console import Console
    from rich.text import Text

    return Console(stderr=True).status(Text(printable(text)))


def short(commit: str) -> str:
    """A commit's id as people read it."""
    return commit[:SHORT_COMMIT]


def size(count: int) -> str:
    """`0 B`, `17 B`, `1.5 KiB`, `120 MiB`: three digits are enough for people."""
    amount, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if amount < 1000 or unit == "PiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"


def latency(seconds: float) -> str:
    """`0 s`, `12 µs`, `1.3 ms`, `2.1 s`: two digits are enough for people."""
    for unit, length in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= length:
            amount = seconds / length
            return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
    return f"{seconds * 1e9:.0f} ns" if seconds else "0 s"


def duration(seconds: float) -> str:
    """`5 s`, `3 min`, `2 h 5 min`, `3 d 4 h`."""
    left = max(0, int(seconds))
    for length, unit, smaller, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "")):
        if left >= length:
            rest = left % length // smaller
            return f"{left // length} {unit}" + (f" {rest} {small_unit}" if rest and small_unit else "")
    return f"{left} s"


def when(timestamp: float | None) -> str:
    """A local time as `2026-11-23 18:04`; `-` if there is none."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(timestamp)) if timestamp else "-"


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 mount`, `2 mounts`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def left_out(own: list[str]) -> str:
    """The note about files that pachmount keeps for itself, which are no data."""
    from pachmount import own_files

    return f"left out {count(len(own), 'file')} of pachmount itself: {own_files.shown(own)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
