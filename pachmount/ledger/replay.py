"""Making the transactions of a log again in a database."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from pachmount.ledger.capture import LEDGER_TABLE, apply, catalog_sum, tables
from pachmount.ledger.compare import Log
from pachmount.ledger.frames import Kind, LogReader


def replay(db: sqlite3.Connection, log: Log, generation: int, unsummed: Collection[str]) -> None:
    """Apply what a log has behind `generation`, inside a transaction without foreign keys.

    Raises ValueError if that gives other rows than were written, sqlite3.Error, OSError.
    """
    known = tables(db, unsummed)
    for frame in LogReader(log.path):
        if frame.end <= log.end and frame.generation > generation and frame.kind in (Kind.PART, Kind.COMMIT):
            apply(db, known, frame.payload)
    if catalog_sum(db, unsummed) != log.total:
        raise ValueError("the rows are not those that were written")
    note(db, log.generation, log.total, log.durable)


def note(db: sqlite3.Connection, generation: int, total: int, durable: int) -> None:
    """Let a database say which generation it is."""
    values = (generation, total.to_bytes(8, "little"), durable)
    db.execute(f"UPDATE main.{LEDGER_TABLE} SET generation = ?, total = ?, durable = ?", values)  # noqa: S608
