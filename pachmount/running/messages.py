"""What the program that runs datums and its workers tell each other, as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

DatumState = Literal["success", "failed", "recovered", "skipped"]


@dataclass(frozen=True)
class Placed:
    """A file or directory of a datum: `source` is where its commit is mounted, `target` where the code sees it."""

    source: str
    target: str
    is_dir: bool
    empty: bool = False


@dataclass(frozen=True)
class Order:
    """A datum to run: its files, the variables it adds, and the existing directory for its logs and its output."""

    datum: str
    directory: str
    placed: Sequence[Placed]
    variables: dict[str, str]

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Order:
        data = json.loads(line)
        data["placed"] = [Placed(**entry) for entry in data["placed"]]
        return cls(**data)


@dataclass(frozen=True)
class Outcome:
    """What became of a datum. `exit_code` is that of the last try (128+N for signal N), `why` for people."""

    datum: str
    state: DatumState
    tries: int = 0
    exit_code: int = 0
    seconds: float = 0.0
    why: str = ""

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Outcome:
        return cls(**json.loads(line))
