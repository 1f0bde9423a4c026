"""The mounts of the soak test as its clients know them, and what the clients did."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["ro", "rw", "follow", "parts", "elsewhere"]
KINDS: tuple[Kind, ...] = ("ro", "rw", "follow", "parts", "elsewhere")


class UnexpectedError(AssertionError):
    """An answer that the situation does not allow."""


@dataclass
class Slot:
    """A name for a mount. One with an owner is changed by that client alone, so that its state is known.

    `known` is whether it is mounted, None after a request whose outcome is not known. `staged` has the files written
    and not known to be committed.
    """

    name: str
    repo: str
    kind: Kind
    place: Path
    owned: bool = True
    known: bool | None = False
    mode: Literal["ro", "rw"] = "ro"
    follow: bool = False
    staged: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Tally:
    """What all clients did."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    committed: dict[tuple[str, str], bytes] = field(default_factory=dict)
    most_mounts: int = 0

    def count(self, what: str, seconds: float, error: str = "") -> None:
        with self.lock:
            self.done[what] += 1
            if error:
                self.errors[f"{what}: {error}"] += 1
            self.slowest[what] = max(seconds, self.slowest.get(what, 0.0))

    def __str__(self) -> str:
        slowest = {what: f"{seconds:.1f} s" for what, seconds in self.slowest.items()}
        return f"done: {dict(self.done)}; errors: {dict(self.errors)}; slowest: {slowest}"
