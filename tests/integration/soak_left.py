"""What a daemon holds: threads, file descriptors, memory, files; to be compared before and after a soak."""

from __future__ import annotations

import os
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.integration.box import Box

_LASTING = re.compile(
    r"state/pachmount/[^/]+(/(daemon\.(lock|log|stderr)|mounts(\.copy)?\.json|localpfs\.log|staged|staging))?"
    r"|cache/pachmount(/blocks(/[^/]+)?|/listings(/[^/]+)?)?"
    r"|run/pachmount(/[^/]+\.(sock|lock))?"
    r"|(state|cache|run)/pachmount"
)
"""What docs/architecture.md (Places) says is there while a daemon without mounts runs."""


@dataclass(frozen=True)
class Held:
    """Of one process, at one moment; `descriptors` by what they lead to.

    `segments` of the block cache, one for 64 MiB of it, are counted by themselves: they grow with what was read.
    """

    threads: int
    descriptors: Counter[str]
    segments: int
    rss_bytes: int

    @classmethod
    def by(cls, pid: int) -> Held:
        process = Path(f"/proc/{pid}")
        found: Counter[str] = Counter()
        for entry in (process / "fd").iterdir():
            with suppress(FileNotFoundError):
                found[_kind(os.readlink(entry))] += 1
        segments = sum(found.pop(kind) for kind in list(found) if kind.endswith(".segment"))
        rss = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return cls(len(list((process / "task").iterdir())), found, segments, rss)

    def __str__(self) -> str:
        descriptors = f"{self.descriptors.total()} descriptors beside {self.segments} of segments"
        return f"{self.threads} threads, {descriptors}, {self.rss_bytes >> 20} MiB"


def _kind(target: str) -> str:
    """What a descriptor leads to, without the numbers of sockets, pipes and segments."""
    return re.sub(r"\d+", "N", target)


def files_left(box: Box) -> list[str]:
    """What lies in the places of a daemon's own beyond what lasts."""
    found = []
    for place in ("state", "cache", "run"):
        for path in (box.root / place).rglob("*"):
            name = str(path.relative_to(box.root))
            if not _LASTING.fullmatch(name):
                found.append(name)
    return sorted(found)
