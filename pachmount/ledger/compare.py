"""Comparing a database with its ledger, without changing either: are they what they must be, and what is to be done?"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import sqlite3
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pachmount.ledger.capture import LEDGER_TABLE, catalog_sum
from pachmount.ledger.frames import LOG_NAME, Flaw, Header, Kind, LogReader

_BOOT_FILE = "/proc/sys/kernel/random/boot_id"


class Verdict(enum.Enum):
    """NEW: there is neither. WHOLE: as it should be. BEHIND: the ledger has transactions that the database lacks.

    ANEW: the database is sound and the ledger is missing, damaged or older, so it begins anew. DAMAGED: nothing may be
    written before a repair.
    """

    NEW = "new"
    WHOLE = "whole"
    BEHIND = "behind"
    ANEW = "anew"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class Row:
    """What a database says of itself, in its table `ledger`."""

    store: str
    generation: int
    total: int
    durable: int


@dataclass(frozen=True)
class Log:
    """What a log file has: whole transactions up to `end`, the last of which is described here.

    Behind `end` lies what `flaw` says, and before that parts of a transaction that never ended.
    """

    path: Path
    number: int
    header: Header
    generation: int
    total: int
    durable: int
    boot: str
    flaw: Flaw
    end: int
    checksum: int
    sums: dict[int, int]
    """The sum behind those of the transactions that the database may have ended with."""


@dataclass(frozen=True)
class Look:
    """What a comparison found. `problem` says what is damaged, or what a person should know of a ledger made anew."""

    verdict: Verdict
    problem: str = ""
    row: Row | None = None
    log: Log | None = None
    is_new_boot: bool = False
    has_snapshot: bool = True


def boot_id() -> str:
    """Names this run of the machine."""
    with contextlib.suppress(OSError):
        return Path(_BOOT_FILE).read_text().strip()
    return "unknown"


def ledger_directory(database: Path) -> Path:
    return database.parent / "ledger"


def log_files(database: Path) -> list[tuple[int, Path]]:
    """The logs of a store, the newest last."""
    with contextlib.suppress(FileNotFoundError):
        names = os.listdir(ledger_directory(database))
        found = [
            (int(match[1]), ledger_directory(database) / match[0]) for match in map(LOG_NAME.fullmatch, names) if match
        ]
        return sorted(found)
    return []


def read_only(database: Path) -> sqlite3.Connection:
    """A connection that changes no file but the -shm, not even when it is closed. Raises sqlite3.Error."""
    wal = database.with_name(database.name + "-wal")
    has_wal = wal.exists() and wal.stat().st_size > 0
    options = "mode=ro" if has_wal else "mode=ro&immutable=1"  # without a log SQLite would make an empty one
    return sqlite3.connect(f"{database.absolute().as_uri()}?{options}", uri=True, isolation_level=None)


def look(database: Path, *, unsummed: Collection[str] = (), has_data: bool = False, boot: str = "") -> Look:
    """Compare a database, which nobody else uses, with its ledger. Changes nothing. Raises OSError.

    `unsummed`: the tables that do not count for the catalog sum. `has_data`: the store has other files, which its
    database must know. `boot` names this run of the machine.
    """
    name = database.name
    logs = log_files(database)
    if not database.exists() or not database.stat().st_size:
        state = "empty" if database.exists() else "missing"
        if not logs and not has_data:
            return Look(Verdict.NEW)
        return Look(Verdict.DAMAGED, f"{name} is {state}, but there is data that it must have known")
    if not os.access(database, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(database))
    try:
        row, total = examine(database, unsummed)
    except (sqlite3.Error, ValueError) as error:
        if "disk is full" in str(error):  # Python 3.10 does not give the code
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(database)) from error
        return Look(Verdict.DAMAGED, f"{name} cannot be read as a database")
    if row is not None and row.total != total:
        return Look(Verdict.DAMAGED, f"{name} has rows that are not as they were written", row)
    if not logs:
        had = "the ledger is missing" if row is not None else ""
        return Look(Verdict.ANEW, had, row)
    if row is None:
        return Look(Verdict.DAMAGED, f"{name} is older than its ledger")
    try:
        log = read_log(*logs[-1], floor=row.generation)
    except ValueError as error:
        return Look(Verdict.ANEW, f"the ledger is damaged: {logs[-1][1].name}: {error}", row)
    if log.header.store != row.store:
        return Look(Verdict.DAMAGED, f"{name} and its ledger are of different stores", row, log)
    return _compared(database, row, log, boot or boot_id())


def examine(database: Path, unsummed: Collection[str]) -> tuple[Row | None, int]:
    """What a database says of itself, and the catalog sum of what it has. Raises sqlite3.Error, ValueError."""
    with closing(read_only(database)) as db:
        db.execute("BEGIN")
        return read_row(db), catalog_sum(db, unsummed)


def read_row(db: sqlite3.Connection) -> Row | None:
    """What a database says of itself; None if it has had no ledger. Raises sqlite3.Error, ValueError."""
    if not db.execute("SELECT 1 FROM main.sqlite_master WHERE name = ?", (LEDGER_TABLE,)).fetchone():
        return None
    found = db.execute(f"SELECT store, generation, total, durable FROM main.{LEDGER_TABLE}").fetchone()  # noqa: S608
    if found is None or list(map(type, found)) != [str, int, bytes, int]:
        raise ValueError("it does not say which generation it is")
    return Row(found[0], found[1], int.from_bytes(found[2], "little"), found[3])


def read_log(number: int, path: Path, *, floor: int = 0) -> Log:
    """All of a log. Raises ValueError if not even its header can be read, OSError."""
    reader = LogReader(path)
    frames = iter(reader)
    first = next(frames, None)
    if first is None:
        raise ValueError("its header cannot be read")
    header = Header.of(first)
    settled = last = first
    boot = header.boot
    sums = {first.generation: first.total}
    for frame in frames:
        if frame.kind is Kind.BOOT:
            boot = str(frame.content())
        if frame.kind is not Kind.PART:
            settled = frame
        if frame.kind is Kind.COMMIT:
            last = frame
            if frame.generation == floor:
                sums[floor] = frame.total
    sums[last.generation] = last.total
    return Log(
        path=path,
        number=number,
        header=header,
        generation=last.generation,
        total=last.total,
        durable=last.durable,
        boot=boot,
        flaw=reader.flaw,
        end=settled.end,
        checksum=settled.checksum,
        sums=sums,
    )


def _compared(database: Path, row: Row, log: Log, boot: str) -> Look:
    name = database.name
    is_new_boot = log.boot != boot
    if row.generation > log.generation:
        lost = row.durable > log.generation or not is_new_boot
        problem = f"the ledger is older than {name}, or damaged behind its transaction {log.generation}"
        return Look(Verdict.ANEW, problem if lost else "", row, log, is_new_boot)
    if log.flaw is Flaw.BAD and not is_new_boot:
        problem = f"the ledger is damaged behind its transaction {log.generation}, and {name} has no later one"
        return Look(Verdict.DAMAGED, problem, row, log)
    if row.generation not in log.sums:
        return Look(Verdict.DAMAGED, f"{name} is older than its ledger", row, log)
    if row.total != log.sums[row.generation]:
        return Look(Verdict.DAMAGED, f"{name} does not have the rows that its ledger notes", row, log)
    snapshot = log.path.with_name(log.header.snapshot)
    has_snapshot = snapshot.exists() and snapshot.stat().st_size == log.header.snapshot_size
    problem = "" if has_snapshot else f"the snapshot {snapshot.name} of the ledger is missing or damaged"
    if row.generation < log.generation:
        return Look(Verdict.BEHIND, problem, row, log, is_new_boot, has_snapshot)
    return Look(Verdict.WHOLE if has_snapshot else Verdict.ANEW, problem, row, log, is_new_boot, has_snapshot)
