"""Opening a database with its ledger: what the comparison found decides what is done first."""

from __future__ import annotations

import logging
import secrets
import sqlite3
from collections.abc import Callable, Collection
from pathlib import Path

from pachmount.errors import StoreDamagedError
from pachmount.ledger.capture import LEDGER_TABLE, catalog_sum
from pachmount.ledger.compare import Log, Look, Row, Verdict, boot_id, look, read_row
from pachmount.ledger.ledger import Ledger
from pachmount.ledger.replay import note, replay

_log = logging.getLogger(__name__)

_SCHEMA = f"""CREATE TABLE IF NOT EXISTS main.{LEDGER_TABLE} (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    store TEXT NOT NULL,
    generation INTEGER NOT NULL,
    total BLOB NOT NULL,
    durable INTEGER NOT NULL
)"""


def open_ledger(
    database: Path,
    connect: Callable[[], sqlite3.Connection],
    *,
    prepare: Callable[[sqlite3.Connection], bool],
    unsummed: Collection[str] = (),
    has_data: bool = False,
    boot: str = "",
) -> Ledger:
    """Compare a database with its ledger, bring it up to date if that is needed and can be, and open both for writing.

    `connect` gives the one connection that writes, in autocommit mode; nothing is written before the comparison has
    ended well. `prepare` makes or changes the schema, inside a transaction, and says whether it did. The other
    arguments are those of `look`. Raises StoreDamagedError, without a hint; OSError, sqlite3.Error, and what the two
    functions raise.
    """
    boot = boot or boot_id()
    found = look(database, unsummed=unsummed, has_data=has_data, boot=boot)
    if found.verdict is Verdict.DAMAGED:
        raise damaged(database, found.problem)
    db = connect()
    try:
        db.execute("PRAGMA synchronous = NORMAL")  # what is durable is so in the log
        if found.verdict is Verdict.BEHIND and found.row is not None and found.log is not None:
            _redo(db, database, found.row, found.log, unsummed)
        is_new = _prepared(db, prepare, found, unsummed)
        return Ledger(database, db, found, unsummed, boot, is_new=is_new)
    except BaseException:
        db.close()
        raise


def damaged(database: Path, problem: str) -> StoreDamagedError:
    return StoreDamagedError(f"the store {database.parent} is damaged", problem)


def _redo(db: sqlite3.Connection, database: Path, row: Row, log: Log, unsummed: Collection[str]) -> None:
    (had_keys,) = db.execute("PRAGMA foreign_keys").fetchone()
    db.execute("PRAGMA foreign_keys = OFF")  # the log has what they led to
    try:
        db.execute("BEGIN IMMEDIATE")
        try:
            replay(db, log, row.generation, unsummed)
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
    except (ValueError, sqlite3.IntegrityError) as error:
        raise damaged(database, f"its ledger cannot be applied to {database.name} ({error})") from error
    finally:
        db.execute(f"PRAGMA foreign_keys = {had_keys}")
    count = log.generation - row.generation
    _log.warning("%s was behind its ledger: %d transactions were made again from there", database, count)


def _prepared(
    db: sqlite3.Connection, prepare: Callable[[sqlite3.Connection], bool], found: Look, unsummed: Collection[str]
) -> bool:
    """Bring the schema up to date; whether the ledger has to begin anew. All of it or nothing."""
    db.execute("PRAGMA synchronous = FULL")  # no log has this transaction
    db.execute("BEGIN IMMEDIATE")
    try:
        is_new = prepare(db) or found.verdict in (Verdict.NEW, Verdict.ANEW) or not found.has_snapshot
        if is_new:
            db.execute(_SCHEMA)
            row = read_row(db) if found.row is not None else None
            if row is None:
                values = (secrets.token_hex(16), bytes(8))
                db.execute(f"INSERT INTO main.{LEDGER_TABLE} VALUES (1, ?, 0, ?, 0)", values)  # noqa: S608
            generation = 1 + max(row.generation if row else 0, found.log.generation if found.log else 0)
            note(db, generation, catalog_sum(db, unsummed), generation)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("PRAGMA synchronous = NORMAL")
    return is_new
