"""What `scripts/bench reading` measures: the sizes of the data, and each figure with what it must reach (issue 5)."""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True)
class Sizes:
    """How much of everything. `share` is the part of the full amount, for targets that are seconds of the whole."""

    share: float
    rounds: int
    listed_files: int
    listed_directories: int
    small_directories: int
    big_bytes: int
    file_bytes: int
    changed_file_bytes: int
    memory_files: int
    touched_bytes: int

    @property
    def small_files(self) -> int:
        return self.small_directories * SMALL_PER_DIRECTORY


SMALL_PER_DIRECTORY = 100
SMALL_BYTES = 4 * KIB
FIRST_BYTES = 64 * KIB
RANDOM_READS = 100
CHANGE_FILES = 1000
CHANGED_SHARE = 100
"""One file in so many is another one in the second commit."""
STREAMS = 8

SCALES = {
    "tiny": Sizes(0.001, 1, 200, 20, 2, 8 * MIB, 4 * MIB, 10 * KIB, 2_000, 16 * MIB),
    "small": Sizes(0.1, 2, 10_000, 100, 10, 400 * MIB, 256 * MIB, 100 * KIB, 200_000, GIB),
    "full": Sizes(1.0, 3, 100_000, 1_000, 100, 4 * GIB, GIB, MIB, 1_000_000, 8 * GIB),
}


@dataclass(frozen=True)
class Figure:
    """One line of the table. `at_most` is in `unit`, of the full amount if `grows`; `ratio` is reference : figure."""

    key: str
    what: str
    unit: str
    at_most: float | None = None
    grows: bool = False
    ratio: float | None = None
    optional: bool = False

    @property
    def row(self) -> str:
        """The row of the issue's table that it belongs to; what `--only` names."""
        return self.key.partition("-")[0]

    def text(self, sizes: Sizes) -> str:
        """What was measured, with how much of it."""
        return self.what.format(
            listed=f"{sizes.listed_files:,}",
            small=f"{sizes.small_files:,}",
            big=_amount(sizes.big_bytes),
            file=_amount(sizes.file_bytes),
            changed=_amount(CHANGE_FILES * sizes.changed_file_bytes),
            many=f"{sizes.memory_files:,}",
        )

    def limit(self, sizes: Sizes) -> float | None:
        if self.at_most is None:
            return None
        return self.at_most * sizes.share if self.grows else self.at_most


def _amount(size: int) -> str:
    return f"{size // GIB} GiB" if size % GIB == 0 else f"{size // MIB} MiB"


FIGURES = {
    figure.key: figure
    for figure in (
        Figure("listing-cold", "ls -lR of {listed} files, cold", "s", 6.5, grows=True),
        Figure("listing-warm", "  the same again", "s", 3.0, grows=True),
        Figure("listing-second", "  second mount, by a new daemon", "s"),
        Figure("listing-calls", "  listing calls of that mount", "", 0),
        Figure("small-order", "read {small} x 4 KiB, cold, in order", "s", 4.4, grows=True),
        Figure("small-threads", "  8 threads", "s", 4.4, grows=True),
        Figure("small-random", "  one thread, random in each directory", "s", 4.4, grows=True),
        Figure("small-tar", "  in order, beside one GetFileTAR", "s"),
        Figure("first-time", "first 64 KiB of a file of {big}, cold", "s", 0.24),
        Figure("first-download", "  beside a download at open", "s"),
        Figure("first-bytes", "  transferred for them", "MiB", 40),
        Figure("sequential-one", "read {file} in sequence, cold, 1 MiB reads", "s", ratio=0.9),
        Figure("sequential-two", "  two readers of two such files", "s", ratio=1.2),
        Figure("warm-big", "read {file} from the page cache", "s", ratio=0.9),
        Figure("warm-small", "read {small} x 4 KiB, warm", "s", ratio=1 / 1.5),
        Figure("warm-small-python", "  with Python's open, which asks each whether it is a terminal", "s"),
        Figure("random-cold", "100 random reads of 4 KiB in {big}, cold", "s", ratio=1 / 1.1),
        Figure("random-again", "  the same reads again", "s", 0.05),
        Figure("change-refresh", "refresh, 1 % of {changed} changed, less a plain WalkFile", "ms", 50),
        Figure("change-bytes", "  fetched to read all of it, of all bytes", "%", 1.1),
        Figure("change-read", "  time to read all of it", "s"),
        Figure("memory-peak", "memory: {many} files listed, 8 streams", "MB", 400),
        Figure("memory-growth", "  growth over the time of --soak", "%", 5, optional=True),
    )
}
ROWS = tuple(dict.fromkeys(figure.row for figure in FIGURES.values()))
