"""Sweeping at start: removes pages, chunks and packs that no commit and no file set needs."""

from __future__ import annotations

import sqlite3
import time

from pachmount.localpfs import tree
from pachmount.localpfs.content import CHUNK_BYTES, Content
from pachmount.localpfs.pages import HASH, Inner, decode


def expire_filesets(db: sqlite3.Connection) -> None:
    """Forget the file sets whose time is over."""
    db.execute("DELETE FROM fileset WHERE expires < ?", (time.time_ns(),))


def sweep(db: sqlite3.Connection, content: Content) -> None:
    """Remove what is not needed, inside the transaction `db`; only while no call is running.

    Needs memory and time in proportion to the number of pages, not of files. Packs that hold nothing but removed
    chunks go; a pack that is still needed keeps its removed chunks.
    """
    db.execute("CREATE TEMP TABLE needed_page (id INTEGER PRIMARY KEY)")
    db.execute("CREATE TEMP TABLE needed_chunk (name BLOB PRIMARY KEY) WITHOUT ROWID")
    roots = db.execute("SELECT root FROM revision UNION SELECT base FROM revision UNION SELECT root FROM fileset")
    pending = [root for (root,) in roots.fetchall() if root != tree.EMPTY]
    while pending:
        page_id = pending.pop()
        if not db.execute("INSERT OR IGNORE INTO needed_page VALUES (?)", (page_id,)).rowcount:
            continue
        page = decode(db.execute("SELECT data FROM page WHERE id = ?", (page_id,)).fetchone()[0])
        if isinstance(page, Inner):
            pending.extend(page.children)
            continue
        names: set[bytes] = set()
        for _, entry in page.items():
            if entry.chunk:
                names.add(entry.chunk)
            elif not entry.is_dir and entry.size > CHUNK_BYTES:
                names.add(entry.hash)
                listed = content.chunk(entry.hash)
                names.update(listed[at : at + HASH] for at in range(0, len(listed), HASH))
        db.executemany("INSERT OR IGNORE INTO needed_chunk VALUES (?)", [(name,) for name in names])
    db.execute("DELETE FROM page WHERE id NOT IN (SELECT id FROM needed_page)")
    db.execute("DELETE FROM chunk WHERE name NOT IN (SELECT name FROM needed_chunk)")
    db.execute("DELETE FROM pack WHERE id NOT IN (SELECT pack FROM chunk)")
    db.execute("DROP TABLE needed_page")
    db.execute("DROP TABLE needed_chunk")
    db.execute("DELETE FROM meta WHERE name = 'garbage'")
