"""Which files of which commits cannot be read any more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from pachmount.errors import DataError
from pachmount.localpfs import model
from pachmount.localpfs.content import Place, read_chunk
from pachmount.localpfs.packs import Packs
from pachmount.localpfs.pages import HASH, Entry, Inner
from pachmount.localpfs.tree import EMPTY
from pachmount.localpfs.verify_tree import Pages, shown


class LostFiles:
    """Goes through all trees; through pages that trees share only once. Content is not read but for lists of chunks."""

    def __init__(self, db: sqlite3.Connection, packs: Packs) -> None:
        self._db = db
        self._packs = packs
        self._pages = Pages(db)
        self._below: dict[int, list[str]] = {}

    def all(self) -> Iterator[str]:
        """A text for each file of each commit, and for each page of a commit whose names are lost."""
        for commit in model.revisions(self._db, None):
            for text in self._lost_below(commit.root):
                yield f"{text} of commit {commit}"

    def _lost_below(self, root: int) -> list[str]:
        pending = [root] if root != EMPTY else []
        found: list[str] = []
        while pending:
            page_id = pending.pop()
            try:
                page = self._pages.load(page_id)
            except DataError:
                found.append("an unknown number of files")
                continue
            if isinstance(page, Inner):
                pending.extend(page.children)
                continue
            if page_id not in self._below:
                self._below[page_id] = [shown(key) for key, entry in page.items() if not self._is_there(entry)]
            found += self._below[page_id]
        return found

    def _is_there(self, entry: Entry) -> bool:
        if entry.is_dir or not entry.size:
            return True
        if entry.chunk:
            return self._place(entry.chunk) is not None
        place = self._place(entry.hash)
        if place is None:
            return False
        try:
            (listed,) = read_chunk(self._packs, entry.hash, place)
        except (DataError, OSError):
            return False
        return all(self._place(listed[at : at + HASH]) is not None for at in range(0, len(listed), HASH))

    def _place(self, name: bytes) -> Place | None:
        row = self._db.execute("SELECT pack, start, length, sum FROM chunk WHERE name = ?", (name,)).fetchone()
        return None if row is None else Place(*row)
