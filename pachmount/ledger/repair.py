"""Making a damaged database anew: from its ledger, or from what can be read of it. Nothing is removed."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pachmount.errors import DataError
from pachmount.files import sync_directory
from pachmount.ledger import snapshots
from pachmount.ledger.capture import SEQUENCE, catalog_sum, quoted, tables
from pachmount.ledger.compare import (
    Log,
    Verdict,
    examine,
    ledger_directory,
    look,
    read_log,
    read_only,
    read_row,
)
from pachmount.ledger.lost import NAME, LostAndFound
from pachmount.ledger.replay import note, replay

_SUFFIX = ".repaired"


@dataclass
class Repaired:
    """What a repair did, in phrases for people. `has_database`: there is one that can be used."""

    restored: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    has_database: bool = True


def repair(
    database: Path,
    lost: LostAndFound,
    *,
    unsummed: Collection[str] = (),
    has_data: bool = False,
    boot: str = "",
    distrust: bool = False,
) -> Repaired:
    """If a database is damaged, put the newest state in its place that can be had; what was there goes to `lost`.

    `distrust`: what its sum does not cover is damaged, so that what the ledger has is better if it differs. The next
    `open_ledger` begins a new ledger where that is needed. May be cut off at any point and run again. Raises OSError,
    StorageFullError.
    """
    done = Repaired()
    is_damaged = look(database, unsummed=unsummed, has_data=has_data, boot=boot).verdict is Verdict.DAMAGED
    if not is_damaged and not distrust:
        return done
    sound = _sound_generation(database, unsummed)
    path = database.with_name(database.name + _SUFFIX)
    log = _rebuild(database, path, unsummed, at_least=_noted_generation(database))
    if sound is not None and not is_damaged and (log is None or _are_equal(database, path)):
        path.unlink(missing_ok=True)
        return done
    if log is not None:
        done.restored.append(f"{database.name} from its ledger, as it was after transaction {log.generation}")
    elif sound is not None:
        done.restored.append(f"{database.name} as it is, after transaction {sound}, which its checksum proves")
    elif _salvage(database, path, unsummed):
        done.restored.append(f"{database.name} from the rows in it that can be read")
        done.lost.append(f"rows of {database.name}: nothing tells which")
    elif (log := _rebuild(database, path, unsummed, at_least=0)) is not None:
        done.restored.append(f"{database.name} from its ledger, as it was after transaction {log.generation}")
        done.lost.append("what was changed later")
    else:
        done.lost.append(f"{database.name}: neither the file nor its ledger can be read")
        done.has_database = False
    if sound is None or log is not None:
        for name in (database.name, database.name + "-wal", database.name + "-shm"):
            lost.take(database.with_name(name))
    if path.exists():
        os.rename(path, database)
        sync_directory(database.parent)
    if look(database, unsummed=unsummed, has_data=has_data, boot=boot).verdict is Verdict.DAMAGED:
        lost.take(ledger_directory(database))
    return done


def _are_equal(one: Path, other: Path) -> bool:
    """Whether two databases have the same rows."""
    with contextlib.suppress(sqlite3.Error), closing(read_only(one)) as db:
        db.execute("ATTACH ? AS other", (str(other),))
        for table in tables(db, ()).values():
            name = quoted(table.name)
            for first, second in (("main", "other"), ("other", "main")):
                differing = f"SELECT * FROM {first}.{name} EXCEPT SELECT * FROM {second}.{name}"  # noqa: S608
                if db.execute(f"SELECT 1 FROM ({differing}) LIMIT 1").fetchone():  # noqa: S608
                    return False
        return True
    return False


def _sound_generation(database: Path, unsummed: Collection[str]) -> int | None:
    """The generation of a database that has all rows of its sum, and whose pages SQLite finds in order; else None."""
    with contextlib.suppress(sqlite3.Error, ValueError, OSError):
        if database.stat().st_size:
            row, total = examine(database, unsummed)
            with closing(read_only(database)) as db:
                (verdict,) = db.execute("PRAGMA quick_check (1)").fetchone()
            if row is not None and row.total == total and verdict == "ok":
                return row.generation
    return None


def _noted_generation(database: Path) -> int:
    with contextlib.suppress(sqlite3.Error, ValueError, OSError):
        if database.stat().st_size:
            with closing(read_only(database)) as db:
                row = read_row(db)
                return row.generation if row is not None else 0
    return 0


def _rebuild(database: Path, path: Path, unsummed: Collection[str], *, at_least: int) -> Log | None:
    """Make the database at `path` from the newest log that gives this generation or a later one; None if none does."""
    for log in _logs(database):
        snapshot = ledger_directory(database) / log.header.snapshot
        if log.generation < at_least or not snapshots.is_whole(snapshot, log.header):
            continue
        snapshots.require_space(database.parent, log.header.snapshot_size + log.end)
        try:
            _replayed(snapshot, path, log, unsummed)
        except (ValueError, sqlite3.DatabaseError):
            path.unlink(missing_ok=True)
            continue
        return log
    return None


def _logs(database: Path) -> list[Log]:
    """The logs among the files of a store, whatever their names are, the newest first."""
    found: list[Log] = []
    for directory, inner, names in os.walk(database.parent):
        inner[:] = [name for name in inner if name != NAME]
        for name in names:
            with contextlib.suppress(ValueError, OSError):
                found.append(read_log(0, Path(directory) / name))
    return sorted(found, key=lambda log: log.generation, reverse=True)


def _replayed(snapshot: Path, path: Path, log: Log, unsummed: Collection[str]) -> None:
    snapshots.copy(snapshot, path)
    with _building(path) as db:
        db.execute("BEGIN")
        replay(db, log, log.header.generation, unsummed)
        db.execute("COMMIT")
        for (text,) in db.execute("PRAGMA quick_check (1)"):
            if text != "ok":
                raise DataError(f"the database that was made anew is damaged: {text}")


def _salvage(database: Path, path: Path, unsummed: Collection[str]) -> bool:
    """Copy all rows that can be read to a new database; whether there were any."""
    path.unlink(missing_ok=True)
    copied = 0
    try:
        with closing(read_only(database)) as source, _building(path, _page_size(source)) as db:
            source.text_factory = lambda text: text.decode()
            snapshots.require_space(database.parent, database.stat().st_size)
            query = "SELECT type, name, sql FROM main.sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'"
            schema = source.execute(query + " ORDER BY type = 'table' DESC").fetchall()
            (version,) = source.execute("PRAGMA user_version").fetchone()
            db.execute("BEGIN")
            for kind, _, sql in schema:
                if kind == "table":
                    db.execute(sql)
            for table in [*tables(db, unsummed).values()]:
                for row in _readable(source, table.name, [table.columns[at] for at in table.key]):
                    marks = ", ".join("?" * len(row))
                    copied += db.execute(f"INSERT OR IGNORE INTO {quoted(table.name)} VALUES ({marks})", row).rowcount  # noqa: S608
            for kind, _, sql in schema:
                if kind != "table":
                    db.execute(sql)
            db.execute(f"PRAGMA user_version = {int(version)}")
            about = read_row(source)
            if about is not None:
                values = (about.store, about.generation, bytes(8), about.durable)
                db.execute("INSERT INTO ledger VALUES (1, ?, ?, ?, ?)", values)
                note(db, about.generation, catalog_sum(db, unsummed), about.durable)
            with contextlib.suppress(sqlite3.Error):
                known = source.execute(f"SELECT name, seq FROM main.{SEQUENCE}").fetchall()  # noqa: S608
                db.execute(f"DELETE FROM {SEQUENCE}")  # noqa: S608
                db.executemany(f"INSERT INTO {SEQUENCE} VALUES (?, ?)", known)  # noqa: S608
            db.execute("COMMIT")
    except (sqlite3.DatabaseError, ValueError, FileNotFoundError):
        copied = 0
    if not copied:
        path.unlink(missing_ok=True)
    return bool(copied)


def _readable(db: sqlite3.Connection, table: str, key: list[str]) -> Iterator[tuple[object, ...]]:
    """The rows of a table from its beginning up to damage, then those from its end."""
    for direction in ("ASC", "DESC"):
        order = ", ".join(f"{quoted(column)} {direction}" for column in key)
        try:
            yield from db.execute(f"SELECT * FROM main.{quoted(table)} ORDER BY {order}")  # noqa: S608
            return
        except sqlite3.DatabaseError:
            continue


def _page_size(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA page_size").fetchone()[0])


@contextlib.contextmanager
def _building(path: Path, page_size: int = 4096) -> Iterator[sqlite3.Connection]:
    """A database that takes its place when it is complete, so that nothing has to be safe before the end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size = {page_size}")
        db.execute("PRAGMA journal_mode = MEMORY")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA foreign_keys = OFF")
        yield db
    os.chmod(path, 0o600)
    with open(path, "rb") as file:
        os.fsync(file.fileno())
