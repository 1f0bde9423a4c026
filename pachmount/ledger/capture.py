"""Which rows a transaction changes: noticed by triggers of the writing connection, whatever statements made it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import xxhash

from pachmount.ledger.frames import decode, encode

LEDGER_TABLE = "ledger"
SEQUENCE = "sqlite_sequence"
PART_BYTES = 2 * 1024 * 1024
_ROW_BYTES = 64  # what a held row costs beside its texts and blobs

Values = tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """A table of the store. `key`: the positions of its primary key. `summed`: its rows count for the catalog sum."""

    name: str
    columns: tuple[str, ...]
    key: tuple[int, ...]
    summed: bool

    def key_of(self, row: Values) -> Values:
        return (row[self.key[0]],) if len(self.key) == 1 else tuple([row[at] for at in self.key])

    def sum_of(self, row: Values) -> int:
        """The share of one row in the catalog sum, which is the XOR of all."""
        return int(xxhash.xxh3_64_intdigest(encode([self.name, *row]))) if self.summed else 0


def tables(db: sqlite3.Connection, unsummed: Collection[str]) -> dict[str, Table]:
    """The tables of a database but the ledger's own, by name. Raises ValueError for one without a primary key."""
    found = {}
    query = "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
    for (name,) in db.execute(query).fetchall():
        if name == LEDGER_TABLE:
            continue
        info = db.execute("SELECT cid, name, pk FROM pragma_table_info(?) ORDER BY cid", (name,)).fetchall()
        key = tuple(cid for pk, cid in sorted((pk, cid) for cid, _, pk in info if pk))
        if not key:
            raise ValueError(f"the table {name} has no primary key")
        found[name] = Table(name, tuple(column for _, column, _ in info), key, name not in unsummed)
    return found


def catalog_sum(db: sqlite3.Connection, unsummed: Collection[str]) -> int:
    """The catalog sum of what the database has now, its schema included.

    Raises sqlite3.Error and ValueError if it cannot be read.
    """
    schema = db.execute("SELECT name, sql FROM main.sqlite_master ORDER BY name").fetchall()
    total = int(xxhash.xxh3_64_intdigest(encode([db.execute("PRAGMA main.user_version").fetchone(), schema])))
    for table in tables(db, unsummed).values():
        if table.summed:
            for row in db.execute(f"SELECT {_names(table.columns)} FROM main.{quoted(table.name)}"):  # noqa: S608
                total ^= table.sum_of(row)
    return total


class Capture:
    """What the transaction at hand has changed so far: the last image of each row, and the change of the catalog sum.

    `spill` gets payloads of about PART_BYTES while a transaction goes on. What it raises is kept in `failure`, since
    SQLite has only one text for all that goes wrong in a trigger.
    """

    def __init__(self, db: sqlite3.Connection, unsummed: Collection[str], spill: Callable[[bytes], None]) -> None:
        self._db = db
        self._spill = spill
        self._tables = list(tables(db, unsummed).values())
        self._rows: list[dict[Values, Values | None]] = [{} for _ in self._tables]
        self._held = 0
        self._sequences: dict[str, int] = {}
        self.change = 0
        self.has_spilt = False
        self.failure: BaseException | None = None
        self._has_sequences = bool(
            db.execute("SELECT 1 FROM main.sqlite_master WHERE name = ?", (SEQUENCE,)).fetchone()
        )
        db.execute("PRAGMA recursive_triggers = ON")  # so that REPLACE tells of what it deletes
        db.create_function("ledger_is", -1, self._is)
        db.create_function("ledger_gone", -1, self._gone)
        for number, table in enumerate(self._tables):
            self._watch(number, table)
        self._sequences = self._read_sequences()

    def take(self) -> bytes:
        """The payload of all changes that are held, b"" if there are none; they are held no longer."""
        content: list[list[Any]] = []
        for table, rows in zip(self._tables, self._rows, strict=True):
            if rows:
                gone = [list(key) for key, row in rows.items() if row is None]
                content.append([table.name, gone, [list(row) for row in rows.values() if row is not None]])
                rows.clear()
        self._held = 0
        return encode(content) if content else b""

    def finish(self) -> bytes:
        """`take` at the end of a transaction."""
        before = self._sequences
        self._sequences = self._read_sequences()
        changed = [[name, at] for name, at in self._sequences.items() if before.get(name) != at]
        taken = self.take()
        if not changed:
            return taken
        return encode([*(decode(taken) if taken else []), [SEQUENCE, [], changed]])

    def forget(self) -> None:
        """The transaction has ended, or was rolled back."""
        for rows in self._rows:
            rows.clear()
        self._held = self.change = 0
        self.has_spilt = False
        self.failure = None

    def rolled_back(self) -> None:
        self.forget()
        self._sequences = self._read_sequences()

    def _read_sequences(self) -> dict[str, int]:
        return dict(self._db.execute(f"SELECT name, seq FROM main.{SEQUENCE}")) if self._has_sequences else {}  # noqa: S608

    def _watch(self, number: int, table: Table) -> None:
        new = ", ".join(f"NEW.{quoted(column)}" for column in table.columns)
        # Reading what a row had is expensive where it has large values, and needed for the sum only.
        old_columns = table.columns if table.summed else [table.columns[at] for at in table.key]
        old = ", ".join(f"OLD.{quoted(column)}" for column in old_columns)
        is_now, is_gone = f"SELECT ledger_is({number}, {new});", f"SELECT ledger_gone({number}, {old});"
        for event, actions in (("INSERT", is_now), ("UPDATE", is_gone + is_now), ("DELETE", is_gone)):
            trigger = quoted(f"ledger_{event}_{table.name}")
            self._db.execute(
                f"CREATE TEMP TRIGGER {trigger} AFTER {event} ON main.{quoted(table.name)} BEGIN {actions} END"
            )

    def _is(self, number: int, *row: Any) -> None:
        table = self._tables[number]
        if table.summed:
            self.change ^= table.sum_of(row)
        self._hold(number, table.key_of(row), row)

    def _gone(self, number: int, *row: Any) -> None:
        table = self._tables[number]
        if table.summed:
            self.change ^= table.sum_of(row)
            row = table.key_of(row)
        self._hold(number, row, None)

    def _hold(self, number: int, key: Values, row: Values | None) -> None:
        self._rows[number][key] = row
        self._held += _ROW_BYTES
        for value in row or key:
            if value.__class__ is bytes or value.__class__ is str:
                self._held += len(value)
        if self._held >= PART_BYTES:
            self.has_spilt = True
            try:
                self._spill(self.take())
            except BaseException as error:
                self.failure = error
                raise


def apply(db: sqlite3.Connection, known: dict[str, Table], payload: bytes) -> None:
    """Make the changes of a payload again. Raises ValueError for what is none, sqlite3.Error if they do not fit."""
    content = decode(payload) if payload else []
    if not isinstance(content, list) or not all(isinstance(one, list) and len(one) == 3 for one in content):
        raise ValueError("a frame of the ledger has no changes of rows")
    for name, gone, rows in content:
        table = Table(SEQUENCE, ("name", "seq"), (0,), False) if name == SEQUENCE else known.get(name)
        if table is None or not _are_rows(gone, len(table.key)) or not _are_rows(rows, len(table.columns)):
            raise ValueError(f"changes of a table {name!r} that the store does not have")
        if name == SEQUENCE:  # which has no primary key that would replace a row
            gone = [[row[0]] for row in rows]
        target = f"main.{quoted(table.name)}"
        where = " AND ".join(f"{quoted(table.columns[at])} = ?" for at in table.key)
        db.executemany(f"DELETE FROM {target} WHERE {where}", gone)  # noqa: S608 - quoted names of the schema
        marks = ", ".join("?" * len(table.columns))
        db.executemany(f"INSERT OR REPLACE INTO {target} ({_names(table.columns)}) VALUES ({marks})", rows)  # noqa: S608


def _are_rows(rows: Any, width: int) -> bool:
    allowed = (int, float, str, bytes, type(None))
    return isinstance(rows, list) and all(
        isinstance(row, list) and len(row) == width and all(type(value) in allowed for value in row) for row in rows
    )


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _names(names: Collection[str]) -> str:
    return ", ".join(map(quoted, names))
