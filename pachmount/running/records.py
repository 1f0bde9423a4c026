"""The directory of a run: logs and outputs of its datums, and which of them need not be run again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

from pachmount.datums.model import Datum
from pachmount.errors import BusyError, ConfigurationError
from pachmount.paths import make_private_dir, open_private
from pachmount.running.messages import Outcome
from pachmount.running.place import OUT
from pachmount.running.transform import Transform

_JOURNAL = "outcomes.jsonl"
_DATUMS = "datums"
_MOST_LINES = 1_000
"""Lines of the journal that may say nothing, and as many again as those that do."""
_DONE = ("success", "recovered")


class RunDirectory:
    """Kept over runs of one spec, and used by one at a time. Raises BusyError and ConfigurationError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        make_private_dir(path)
        self._lock = open_private(path / "lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            why = f"another run uses '{path}'"
            raise BusyError("the spec is being run already", why, "wait for it, or give this one --run-dir") from error
        self._known, lines = self._read()
        try:
            if lines > _MOST_LINES + 2 * len(self._known):
                self._shorten()
            self._journal = open(path / _JOURNAL, "a", encoding="utf-8", opener=open_private)  # noqa: SIM115 (closed with us)
        except OSError as error:
            raise ConfigurationError(f"cannot write to '{path}'", error.strerror or str(error)) from error

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._journal.close()
        os.close(self._lock)

    def forget(self, datum_ids: Iterable[str]) -> None:
        """Run these anew."""
        for datum_id in datum_ids:
            if datum_id in self._known:
                self._note(datum_id, "", None)

    def of_datum(self, datum_id: str) -> Path:
        """Where a datum's logs and output are."""
        return self.path / _DATUMS / datum_id

    def output_of(self, datum_id: str) -> Path:
        return self.of_datum(datum_id) / OUT

    def done(self, datum_id: str, key: str) -> Outcome | None:
        """What became of a datum before, if that holds for `key`, which stands for its content and the code."""
        known = self._known.get(datum_id)
        if known is None or known[0] != key or not self.output_of(datum_id).is_dir():
            return None
        return replace(known[1], state="skipped" if known[1].state == "success" else known[1].state)

    def begin(self, datum_id: str) -> Path:
        """An empty directory for a datum."""
        directory = self.of_datum(datum_id)
        if directory.exists():
            self._note(datum_id, "", None)
            shutil.rmtree(directory)
        directory.mkdir(parents=True)
        return directory

    def add(self, outcome: Outcome, key: str) -> None:
        """Remember what became of a datum."""
        if outcome.state in _DONE:
            self._note(outcome.datum, key, outcome)

    def _note(self, datum_id: str, key: str, outcome: Outcome | None) -> None:
        self._journal.write(_line(datum_id, key, outcome))
        self._journal.flush()
        if outcome is None:
            self._known.pop(datum_id, None)
        else:
            self._known[datum_id] = key, outcome

    def _shorten(self) -> None:
        """Keep of the journal only what still holds."""
        beside = self.path / f"{_JOURNAL}.new"
        with open(beside, "w", encoding="utf-8", opener=open_private) as lines:
            for datum_id, (key, outcome) in self._known.items():
                lines.write(_line(datum_id, key, outcome))
        beside.rename(self.path / _JOURNAL)

    def _read(self) -> tuple[dict[str, tuple[str, Outcome]], int]:
        """What is known of each datum, and how many lines say so."""
        known: dict[str, tuple[str, Outcome]] = {}
        number = 0
        with contextlib.suppress(FileNotFoundError), open(self.path / _JOURNAL, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):  # noqa: B007 (counts them)
                with contextlib.suppress(ValueError, TypeError):  # the last line of a run that was killed
                    datum_id, key, outcome = json.loads(line)
                    known.pop(datum_id, None)
                    if outcome:
                        known[datum_id] = key, Outcome(**outcome)
        return known, number


def _line(datum_id: str, key: str, outcome: Outcome | None) -> str:
    return json.dumps([datum_id, key, asdict(outcome) if outcome else None]) + "\n"


def code_key(transform: Transform, directory: str, code: Iterable[Path] = ()) -> str:
    """Stands for the command and its surroundings: files that its words name, and `code`, with all that is in them."""
    digest = sha256(json.dumps([asdict(replace(transform, tries=0, timeout=0.0)), directory]).encode())
    named = (Path(directory, word) for word in (*transform.cmd, *transform.err_cmd))
    for path in (*(path for path in named if _is_file(path)), *code):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(f"{file}\0{_hash_of(file)}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def datum_key(code: str, datum: Datum) -> str:
    """Stands for the code and what it gets to see."""
    seen: Sequence[tuple[str, ...]] = sorted((file.input, file.path, file.hash) for file in datum.files)
    return sha256(json.dumps([code, seen]).encode()).hexdigest()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a word that can be no path
        return False


def _hash_of(file: Path) -> str:
    digest = sha256()
    with open(file, "rb") as content:
        while piece := content.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
