"""Checking a whole store that no server has open: is everything there that is referred to, and as it was written?"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pachmount.errors import ConfigurationError, DataError
from pachmount.ledger import Look, look, lost, snapshots
from pachmount.ledger.compare import read_only
from pachmount.localpfs import model
from pachmount.localpfs.content import Place, checksum, is_named, read_chunk
from pachmount.localpfs.database import SCHEMA_VERSION, UNSUMMED
from pachmount.localpfs.packs import Packs
from pachmount.localpfs.tree import EMPTY, get
from pachmount.localpfs.verify_tree import Pages, TreeCheck

_SHOWN = 100
_FILES = {"lock", "packs", "pfs.db", "pfs.db-wal", "pfs.db-shm", "pfs.db-journal", "ledger", lost.NAME}


@dataclass
class Report:
    """What a check found. Leftovers are harmless: they are removed two weeks later, or by `--gc`."""

    store: str
    commits: int = 0
    filesets: int = 0
    pages: int = 0
    files: int = 0
    chunks: int = 0
    bytes: int = 0
    damaged: int = 0
    damage: list[str] = field(default_factory=list)
    leftover_pages: int = 0
    leftover_chunks: int = 0
    leftover_bytes: int = 0
    strays: list[str] = field(default_factory=list)
    behind: int = 0

    def complain(self, text: str) -> None:
        self.damaged += 1
        text = text.replace("the store is damaged: ", "")
        if len(self.damage) < _SHOWN:
            self.damage.append(text)

    def lines(self) -> Iterator[str]:
        """The report for people."""
        yield from (f"damaged: {text}" for text in self.damage)
        if self.damaged > len(self.damage):
            yield f"and {self.damaged - len(self.damage)} more"
        yield from (f"does not belong here: {path}" for path in self.strays)
        yield (
            f"{self.commits} commits, {self.filesets} file sets, {self.files} files in {self.pages} pages, "
            f"{self.chunks} chunks with {self.bytes} bytes"
        )
        if self.leftover_pages or self.leftover_chunks or self.leftover_bytes:
            yield (
                f"not needed any more: {self.leftover_pages} pages, {self.leftover_chunks} chunks, "
                f"{self.leftover_bytes} bytes of packs"
            )
        if self.behind:
            yield f"the ledger has {self.behind} transactions that the database lacks; the next start adds them"
        yield f"{self.store}: " + (
            ("1 problem" if self.damaged == 1 else f"{self.damaged} problems") if self.damaged else "no damage"
        )


def check(root: Path) -> Report:
    """Check the store in the directory `root`, whose lock the caller holds. Changes nothing."""
    report = Report(str(root))
    _check_files(root, report)
    if _check_ledger(root, report):
        try:
            with closing(read_only(root / "pfs.db")) as db:
                _Check(root, db, report).run()
        except sqlite3.DatabaseError as error:
            report.complain(f"pfs.db: {error}")
    return report


def look_at(root: Path) -> Look:
    """Compare the database of a store with its ledger."""
    sizes = Packs(root / "packs").sizes() if (root / "packs").is_dir() else {}
    return look(root / "pfs.db", unsummed=UNSUMMED, has_data=any(sizes.values()))


def missing_packs(root: Path) -> str:
    """Which packs are missing or too short, for people. Raises sqlite3.Error."""
    with closing(read_only(root / "pfs.db")) as db:
        return Packs(root / "packs").missing(dict(db.execute("SELECT id, used FROM pack").fetchall()))


def _check_ledger(root: Path, report: Report) -> bool:
    """Whether there is a database that can be looked into."""
    found = look_at(root)
    if found.problem:
        report.complain(found.problem)
    if found.log is not None:
        report.behind = max(found.log.generation - found.row.generation, 0) if found.row is not None else 0
        snapshot = found.log.path.with_name(found.log.header.snapshot)
        if not snapshots.is_whole(snapshot, found.log.header) and not found.problem:
            report.complain(f"the snapshot {snapshot.name} of the ledger is damaged")
    return (root / "pfs.db").is_file() and (root / "pfs.db").stat().st_size > 0


def _check_files(root: Path, report: Report) -> None:
    report.strays += [str(path) for path in root.iterdir() if path.name not in _FILES]
    packs = root / "packs"
    if packs.is_dir():
        report.strays += [str(path) for path in packs.iterdir() if path.suffix != ".pack" or not path.stem.isdecimal()]


class _Check:
    def __init__(self, root: Path, db: sqlite3.Connection, report: Report) -> None:
        self._directory = root / "packs"
        self._db = db
        self._report = report

    def run(self) -> None:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version != SCHEMA_VERSION:
            hint = "start the server once" if version < SCHEMA_VERSION else "update pachmount"
            raise ConfigurationError(f"the store has version {version}, this program checks {SCHEMA_VERSION}", "", hint)
        complain = self._report.complain
        for (text,) in self._db.execute("PRAGMA integrity_check"):
            if text != "ok":
                complain(f"pfs.db: {text}")
        for table, row, parent, _ in self._db.execute("PRAGMA foreign_key_check"):
            complain(f"pfs.db: row {row} of {table} refers to a {parent} that is not there")
        self._packs = Packs(self._directory)
        try:
            self._db.execute("CREATE TEMP TABLE needed (name BLOB PRIMARY KEY) WITHOUT ROWID")
            self._db.execute("BEGIN")
            self._check_trees()
            self._check_rows()
            self._check_chunks()
            self._db.execute("COMMIT")
        finally:
            self._packs.close()

    def _check_trees(self) -> None:
        trees = TreeCheck(self._db, self._length, self._listed, self._need)
        for root, what in self._roots():
            trees.check(root, lambda text, what=what: self._report.complain(f"{what}: {text}"))  # type: ignore[misc]
        total = self._count("SELECT count(*) FROM page")
        self._report.pages = len(trees.seen)
        self._report.files = trees.files
        self._report.leftover_pages = max(total - len(trees.seen), 0)

    def _roots(self) -> Iterator[tuple[int, str]]:
        """The roots of all trees, each once, with what to call it."""
        known = {EMPTY}
        for found in model.revisions(self._db, None):
            self._report.commits += 1
            for root, of in ((found.root, ""), (found.base, ", the state it started from")):
                if root not in known:
                    known.add(root)
                    yield root, f"commit {found}{of}"
        for fileset, root in self._db.execute("SELECT id, root FROM fileset"):
            self._report.filesets += 1
            if root not in known:
                known.add(root)
                yield root, f"file set {fileset}"

    def _check_rows(self) -> None:
        """Branches have heads in their repos, and finished commits the size that their files have."""
        query = (
            "SELECT b.name FROM branch b WHERE NOT EXISTS "
            "(SELECT 1 FROM revision v WHERE v.key = b.head AND v.repo = b.repo)"
        )
        for (name,) in self._db.execute(query):
            self._report.complain(f"the head of the branch {name} is not there")
        pages = Pages(self._db)
        for found in model.revisions(self._db, None):
            if found.finished is None or found.error:
                continue
            try:
                entries = [get(pages, found.root, key) for key in (b"/", b"")]
            except DataError:
                continue  # complained about before
            size = sum(entry.size for entry in entries if entry is not None)
            if size != found.size:
                self._report.complain(f"commit {found} has {size} bytes, {found.size} are noted")

    def _check_chunks(self) -> None:
        """Every chunk lies in a pack, apart from all others, and has the hash that is its name."""
        ends: dict[int, int] = {}
        used = dict(self._db.execute("SELECT id, used FROM pack").fetchall())
        query = (
            "SELECT c.name, c.pack, c.start, c.length, c.sum, n.name IS NOT NULL "
            "FROM chunk c LEFT JOIN temp.needed n ON n.name = c.name ORDER BY c.pack, c.start"
        )
        for name, pack, start, length, stored, needed in self._db.execute(query):
            where = f"chunk {name.hex()} in {pack}.pack"
            if start < ends.get(pack, 0):
                self._report.complain(f"{where} overlaps another one")
            ends[pack] = max(ends.get(pack, 0), start + length)
            if start + length > used.get(pack, 0):
                self._report.complain(f"{where} lies behind the end of the pack")
            try:
                data = read_chunk(self._packs, name, Place(pack, start, length, stored))[0]
                if not is_named(name, data):
                    self._report.complain(f"{where} is not as it was written")
                elif stored not in (None, checksum(name, data)):
                    self._report.complain(f"the checksum of {where} is not as it was written")
            except DataError as error:
                self._report.complain(str(error))
            except OSError as error:
                self._report.complain(f"{where}: {error.strerror}")
            if needed:
                self._report.chunks += 1
                self._report.bytes += length
            else:
                self._report.leftover_chunks += 1
        stored = sum(path.stat().st_size for path in self._directory.glob("*.pack"))
        self._report.leftover_bytes = max(stored - self._report.bytes, 0)

    def _length(self, name: bytes) -> int | None:
        row = self._db.execute("SELECT length FROM chunk WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def _listed(self, name: bytes) -> bytes:
        row = self._db.execute("SELECT pack, start, length, sum FROM chunk WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise DataError(f"chunk {name.hex()} is missing")
        return read_chunk(self._packs, name, Place(*row))[0]

    def _need(self, names: list[bytes]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO temp.needed VALUES (?)", [(name,) for name in names])

    def _count(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])
