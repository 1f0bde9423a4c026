"""`stats --watch`: what happens now, as rates between two samples; a live table on a terminal, else lines."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from pachmount.cli import output
from pachmount.cli.state import State
from pachmount.errors import NotFoundError, PachmountError, UnreachableError
from pachmount.names import printable

if TYPE_CHECKING:
    from rich.live import Live

    from pachmount.api.schema import Latency, NamedMountStatistics, StatsAnswer

HEADER = ["NAME", "LOOK-UPS/S", "READS/S", "READ/S", "HITS", "FETCHED/S", "REQUESTS/S", "IN FLIGHT", "P50", "P99"]
"""P50 and P99 are of the reads of the interval."""


def watch(state: State, names: list[str], interval: float) -> None:
    """Show rates every `interval` seconds until Ctrl-C; goes on when the daemon is restarted."""
    client = state.client()
    before = client.stats(names)
    with _screen() as screen:
        trouble = ""
        while True:
            time.sleep(interval)
            try:
                after = client.stats(names)
            except (UnreachableError, NotFoundError) as error:
                if error.what != trouble:
                    trouble = error.what
                    _say(screen, f"{_clock()} {_waiting_text(error)}")
                continue
            if after.daemon.started != before.daemon.started:
                _say(screen, f"{_clock()} the daemon was started anew: everything counts from there")
                before = _at_start(after)
            trouble = ""
            _show(screen, list(rates(before, after)))
            before = after


def watch_json(state: State, names: list[str], interval: float) -> None:
    """One answer of `GET /stats` a line, every `interval` seconds until Ctrl-C or the end of the daemon."""
    client = state.client()
    while True:
        output.json_line(client.stats(names))
        time.sleep(interval)


def rates(before: StatsAnswer, after: StatsAnswer) -> Iterator[list[str]]:
    """A row a mount: what happened between two answers, a second. A mount that is new, or was made anew, began at 0."""
    seconds = max(after.time - before.time, 1e-3)
    known = {mount.name: mount for mount in before.mounts}
    for mount in after.mounts:
        former = known.get(mount.name)
        if former is not None and _sum(former) > _sum(mount):
            former = None
        yield _row(former, mount, seconds)


def _row(former: NamedMountStatistics | None, mount: NamedMountStatistics, seconds: float) -> list[str]:
    def grown(value: Callable[[NamedMountStatistics], int]) -> int:
        return value(mount) - (value(former) if former is not None else 0)

    hits, misses = grown(lambda m: m.memory_hits + m.disk_hits), grown(lambda m: m.misses)
    reads = _between(former.read if former is not None else None, mount.read)
    return [
        mount.name,
        _rate(grown(lambda m: m.operations.get("lookup", 0)) / seconds),
        _rate(grown(lambda m: m.operations.get("read", 0)) / seconds),
        output.size(int(grown(lambda m: m.read_bytes) / seconds)),
        hit_rate(hits, misses),
        output.size(int(grown(lambda m: m.fetched_bytes) / seconds)),
        _rate(grown(lambda m: m.content_requests + m.listing_requests) / seconds),
        f"{mount.requests_in_flight:,}",
        *(output.latency(_percentile(reads, part)) if reads else "-" for part in (0.5, 0.99)),
    ]


def hit_rate(hits: int, misses: int) -> str:
    """Percent of the blocks that were in the cache; `-` if none was asked for."""
    return f"{100 * hits // (hits + misses)} %" if hits + misses else "-"


def _between(before: Latency | None, after: Latency) -> list[tuple[float, int]]:
    """The buckets of what was recorded between two samples."""
    counts = Counter(dict(after.buckets))
    counts.subtract(dict(before.buckets) if before is not None else {})
    return [(bound, count) for bound, count in sorted(counts.items()) if count > 0]


def _percentile(buckets: list[tuple[float, int]], part: float) -> float:
    wanted, seen = part * sum(count for _, count in buckets), 0
    for bound, count in buckets:
        seen += count
        if seen >= wanted:
            return bound
    return 0.0


def _sum(mount: NamedMountStatistics) -> int:
    """Grows with everything that a mount does."""
    return sum(mount.operations.values()) + mount.content_requests + mount.listing_requests


def _at_start(answer: StatsAnswer) -> StatsAnswer:
    return answer.model_copy(update={"time": answer.daemon.started, "mounts": []})


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _waiting_text(error: PachmountError) -> str:
    return f"{error.what}: waiting until that is over"


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def _screen() -> AbstractContextManager[Live | None]:
    """A live display on a terminal, None elsewhere."""
    if not sys.stdout.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.live import Live

    return Live(console=Console(), auto_refresh=False)


def _say(screen: Live | None, text: str) -> None:
    if screen is None:
        print(text, flush=True)  # noqa: T201
    else:
        screen.console.print(printable(text), markup=False, highlight=False)


def _show(screen: Live | None, rows: list[list[str]]) -> None:
    if screen is None:
        for row in rows or [["nothing is mounted"]]:
            parts = [f"{cell} {title.lower()}" for title, cell in zip(HEADER[1:], row[1:], strict=False)]
            print(f"{_clock()} " + ", ".join([row[0], *parts]), flush=True)  # noqa: T201
        return
    screen.update(_table(rows) if rows else "nothing is mounted", refresh=True)


def _table(rows: list[list[str]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in HEADER:
        table.add_column(title, justify="left" if title == "NAME" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
