"""The user of `scripts/bench reading`: a daemon of its own with an empty cache for each phase, and what it cost."""

from __future__ import annotations

import contextlib
import mmap
import os
import statistics
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pachmount.pfs.model import CommitRef
from tests.bench.reading_data import Data
from tests.bench.reading_targets import FIGURES, MIB, Sizes
from tests.bench.report import Report, Row
from tests.integration.box import Box, wait_until

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Times:
    """Measurements of one thing. What else the machine does only ever adds, so that the best counts."""

    all: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        return min(self.all)

    @property
    def median(self) -> float:
        return statistics.median(self.all)


@dataclass(frozen=True)
class Bench:
    """One run: where the server is, what is measured, where figures go. `env` is for the daemons."""

    address: str
    sizes: Sizes
    data: Data
    report: Report
    folder: Path
    env: dict[str, str]

    @contextlib.contextmanager
    def user(self, commit: CommitRef | None = None) -> Iterator[User]:
        """A user with a new daemon and an empty cache, who mounts `commit` if there is one.

        A new mount has nothing in the page cache either, so that all of it is cold, while the server stays warm.
        """
        box = Box({**self.env, "PACHD_ADDRESS": self.address})
        try:
            box.ok("daemon", "start")
            user = User(box)
            if commit is not None:
                user.mount(commit)
            yield user
        finally:
            box.close()

    def at(self, commit: CommitRef) -> dict[str, str]:
        """What a plain client needs to find a commit."""
        return {"address": self.address, "repo": commit.repo.name, "commit": commit.id}

    def put(self, key: str, ours: Times | float, name: str = "", theirs: Times | float | None = None) -> None:
        """A figure of the table, beside a reference."""
        wanted = FIGURES[key]
        best = ours.best if isinstance(ours, Times) else ours
        reference = theirs.best if isinstance(theirs, Times) else theirs
        ratio = None if reference is None else reference / best
        target, holds = "", None
        limit = wanted.limit(self.sizes)
        if limit is not None:
            target, holds = f"<= {limit:g} {wanted.unit}", best <= limit
        elif wanted.ratio is not None and ratio is not None:
            target, holds = f"ratio >= {wanted.ratio:.2g}", ratio >= wanted.ratio
        row = Row(wanted.text(self.sizes), best, wanted.unit, name, reference, ratio, target, holds, key)
        row.median = ours.median if isinstance(ours, Times) else None
        row.reference_median = theirs.median if isinstance(theirs, Times) else None
        self.report.add(row)

    def note(self, what: str, figure: float, unit: str) -> None:
        """A figure that explains another one; not in the table of the documentation."""
        self.report.add(Row(f"    {what}", figure, unit))


class User:
    """The mounts and the daemon of one phase."""

    def __init__(self, box: Box) -> None:
        self.box = box

    def mount(self, commit: CommitRef, name: str = "data") -> str:
        """Mount a commit; where."""
        self.box.mount(f"{commit.repo.name}@{commit.id}", name)
        return self.path(name)

    def path(self, name: str = "data") -> str:
        return str(self.box.path(name))

    def new_daemon(self) -> None:
        """Unmount everything and start another daemon, with the same cache and state, on a disk that is cold."""
        self.box.clean()
        self.box.ok("daemon", "stop")
        drop_page_cache()
        self.box.ok("daemon", "start")

    def requests(self, kind: Literal["content", "listing"], name: str = "data") -> int:
        """How often a mount, since it was made, asked the cluster for content or for names."""
        return int(self.box.mount_status(name)["statistics"][f"{kind}_requests"])

    def fetched(self) -> int:
        """Bytes of content that came from the cluster. Waits until nothing is under way: only then all are counted."""
        wait_until(lambda: not self._cache()["streams"], "the end of all transfers", 60)
        return int(self._cache()["fetched_bytes"])

    def _cache(self) -> Any:
        return self.box.status()["cache"]

    def cpu(self) -> float:
        """Seconds of processor time that the daemon and its processes have used."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / _TICKS

    def memory(self) -> float:
        """Bytes of the daemon and its processes that are in memory."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                total += int(_status(pid, "VmRSS")) * 1024
        return float(total)

    def processes(self) -> list[int]:
        """The daemon and the processes it started."""
        found = [self.box.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += map(int, (task / "children").read_text().split())
        return found


def _status(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


class Peak:
    """The most memory that a user's daemon had during a `with` block, in bytes, looked at five times a second."""

    def __init__(self, user: User) -> None:
        self.bytes = 0.0
        self._user = user
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.bytes = max(self.bytes, self._user.memory())
            if self._ended.wait(0.2):
                return


def alternate(rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[Times, Times]:
    """Measure two things in turn, both with an empty page cache but a warm server: the first of `theirs` warms it."""
    both = Times(), Times()
    drop_page_cache()
    theirs()
    for _ in range(rounds):
        both[0].all.append(ours())
        both[1].all.append(theirs())
    return both


def can_drop_page_cache() -> bool:
    return os.geteuid() == 0 and os.access("/proc/sys/vm/drop_caches", os.W_OK)


def drop_page_cache() -> None:
    """Empty the system's page cache, where we may."""
    if can_drop_page_cache():
        subprocess.run(["sync"], check=True)
        Path("/proc/sys/vm/drop_caches").write_text("3\n")


def touch_memory(size: int) -> None:
    """Use so many bytes of memory once. A virtual machine may get its pages from the host only then, slowly."""
    with mmap.mmap(-1, size) as memory:
        block = bytes(MIB)
        for _ in range(size // MIB):
            memory.write(block)
