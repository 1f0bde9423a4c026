"""Sweeping: removes pages, chunks and packs that no commit and no file set has needed for two weeks; closes the gaps.

What is found not to be needed is noted with the time, in the tables `unneeded_page` and `unneeded_chunk`. For what lies
in packs behind all that is noted of them, the time is that of the file.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from pachmount.localpfs import tree
from pachmount.localpfs.content import CHUNK_BYTES, Content, Place, checksum, read_chunk
from pachmount.localpfs.database import Database, garbage, mark_garbage
from pachmount.localpfs.packs import Packs
from pachmount.localpfs.pages import Inner, decode
from pachmount.localpfs.pagestore import intact

_COMPACT_BYTES = 1024 * 1024 * 1024  # copied at one start, so that it does not take too long
GRACE_SECONDS = 14 * 24 * 3600
"""How long what nothing needs is kept, as git does it: should it turn out to be needed, it is still there."""
MUCH_GARBAGE = 5000  # pages, of about 4 KiB each; sweeping a store of a million files takes some ten seconds
_FILESET_PAGES = 100  # a guess: most are small


_NOTE_AND_REMOVE = (
    "DELETE FROM unneeded_{table} WHERE {key} IN (SELECT {key} FROM needed_{table})",
    "INSERT OR IGNORE INTO unneeded_{table}"
    " SELECT {key}, :now FROM {table} WHERE {key} NOT IN (SELECT {key} FROM needed_{table})",
    "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM unneeded_{table} WHERE since <= :before)",
    "DELETE FROM unneeded_{table} WHERE since <= :before",
)


def expire_filesets(db: sqlite3.Connection) -> None:
    """Forget the file sets whose time is over."""
    if db.execute("DELETE FROM fileset WHERE expires < ?", (time.time_ns(),)).rowcount:
        mark_garbage(db, _FILESET_PAGES)


def sweep(db: sqlite3.Connection, content: Content, wanted: Callable[[], bool] = lambda: True, *, now: bool) -> bool:
    """Note what is not needed, and remove what was noted long ago, or all of it `now`; in the transaction `db`.

    Only while no call is running. Needs memory and time in proportion to the number of pages, not of files. A pack that
    is still needed keeps its removed chunks until `compact`. Gives up, and says so, as soon as it is not `wanted` any
    more. Raises DataError if the store is damaged.
    """
    db.execute("CREATE TEMP TABLE needed_page (id INTEGER PRIMARY KEY)")
    db.execute("CREATE TEMP TABLE needed_chunk (name BLOB PRIMARY KEY) WITHOUT ROWID")
    time_now = time.time_ns()
    before = time_now if now else time_now - GRACE_SECONDS * 1_000_000_000
    try:
        if not _mark(db, content, wanted):
            return False
        for statement in _NOTE_AND_REMOVE:
            for table, key in (("page", "id"), ("chunk", "name")):
                db.execute(statement.format(table=table, key=key), {"now": time_now, "before": before})
        db.execute("DELETE FROM pack WHERE id NOT IN (SELECT pack FROM chunk)")
        ends = db.execute("SELECT max(start + length), pack FROM chunk GROUP BY pack").fetchall()
        db.executemany("UPDATE pack SET used = ? WHERE id = ?", ends)  # what lies behind is not needed, either
        oldest = "SELECT min(since) FROM (SELECT since FROM unneeded_page UNION ALL SELECT since FROM unneeded_chunk)"
        (since,) = db.execute(oldest).fetchone()
    finally:
        db.execute("DROP TABLE needed_page")
        db.execute("DROP TABLE needed_chunk")
    db.execute("DELETE FROM meta WHERE name IN ('garbage', 'unneeded')")
    if since is not None:
        db.execute("INSERT INTO meta VALUES ('unneeded', ?)", (str(since),))
    return True


def is_due(db: sqlite3.Connection) -> bool:
    """Whether there is much to note, or the time has come to remove something that was noted."""
    row = db.execute("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'unneeded'").fetchone()
    is_old = row is not None and row[0] <= time.time_ns() - GRACE_SECONDS * 1_000_000_000
    return is_old or garbage(db) > MUCH_GARBAGE


def _mark(db: sqlite3.Connection, content: Content, wanted: Callable[[], bool]) -> bool:
    """Note the pages and chunks that commits and file sets need; whether that came to its end."""
    roots = db.execute("SELECT root FROM revision UNION SELECT base FROM revision UNION SELECT root FROM fileset")
    pending = [root for (root,) in roots.fetchall() if root != tree.EMPTY]
    while pending:
        if not wanted():
            return False
        page_id = pending.pop()
        if not db.execute("INSERT OR IGNORE INTO needed_page VALUES (?)", (page_id,)).rowcount:
            continue
        row = db.execute("SELECT data, crc FROM page WHERE id = ?", (page_id,)).fetchone()
        page = decode(intact(page_id, row))
        if isinstance(page, Inner):
            pending.extend(page.children)
            continue
        names: set[bytes] = set()
        for _, entry in page.items():
            if entry.chunk:
                names.add(entry.chunk)
            elif not entry.is_dir and entry.size > CHUNK_BYTES:
                names.add(entry.hash)
                names.update(content.names(entry))
        db.executemany("INSERT OR IGNORE INTO needed_chunk VALUES (?)", [(name,) for name in names])
    return True


def sparse_packs(db: sqlite3.Connection, share: float = 0.5, limit: int = _COMPACT_BYTES) -> list[int]:
    """The packs of which less than `share` is still needed, as long as what has to be copied is within the limit."""
    rows = db.execute(
        "SELECT p.id, p.used, sum(c.length) FROM pack p JOIN chunk c ON c.pack = p.id GROUP BY p.id ORDER BY p.id"
    )
    chosen: list[int] = []
    left = limit
    for pack, used, needed in rows:
        if needed < used * share and needed <= left:
            chosen.append(pack)
            left -= needed
    return chosen


def compact(database: Database, packs: Packs, sparse: list[int]) -> None:
    """Copy what is needed of sparse packs into the current one, which is none of them, and remove them.

    Raises DataError, and leaves the pack at hand as it is, if not all of it can be read.
    """
    for pack in sparse:
        with database.read() as db:
            chunks = db.execute(
                "SELECT name, pack, start, length, sum FROM chunk WHERE pack = ? ORDER BY start", (pack,)
            ).fetchall()
        places = []
        for name, *place in chunks:
            data = read_chunk(packs, name, Place(*place))[0]
            places.append((*packs.append(data)[:2], checksum(name, data), name))
        packs.sync()
        with database.write() as db:
            db.executemany("UPDATE chunk SET pack = ?, start = ?, sum = ? WHERE name = ?", places)
            db.execute("DELETE FROM pack WHERE id = ?", (pack,))
            for number in {place[0] for place in places}:
                end = "SELECT max(start + length) FROM chunk WHERE pack = ?"
                db.execute(f"INSERT OR REPLACE INTO pack VALUES (?, ({end}))", (number, number))  # noqa: S608 - no input
        packs.remove(pack)
