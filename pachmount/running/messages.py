"""What the program that runs datums and its workers tell each other, as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

DatumState = Literal["success", "failed", "recovered", "skipped"]
_MOST = 1 << 31


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

    @classmethod
    def checked(cls, fields: object) -> Outcome:
        """One that was read from a file. Raises ValueError."""
        if not isinstance(fields, dict) or fields.keys() != cls.__dataclass_fields__.keys():
            raise ValueError("it is no outcome of a datum")
        found = cls(**fields)
        if type(found.datum) is not str or found.state not in get_args(DatumState) or type(found.why) is not str:
            raise ValueError("an outcome has a text that can be none")
        if type(found.tries) is not int or type(found.exit_code) is not int or type(found.seconds) not in (int, float):
            raise ValueError("an outcome has a number that is none")
        if not (0 <= found.tries < _MOST and 0 <= found.exit_code < _MOST and 0 <= found.seconds < _MOST):
            raise ValueError("an outcome has a number that can be none")
        return found
