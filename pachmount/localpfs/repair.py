"""Repairing a store that no server has open: what can be proven is restored, what cannot goes to `lost+found`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pachmount.errors import ConfigurationError, DataError
from pachmount.ledger import LostAndFound, repair
from pachmount.ledger.compare import read_only
from pachmount.ledger.snapshots import require_space
from pachmount.localpfs import verify
from pachmount.localpfs.content import Place, is_named, read_chunk
from pachmount.localpfs.database import UNSUMMED, Database
from pachmount.localpfs.lost_files import LostFiles
from pachmount.localpfs.packs import Packs

_SHOWN = 100


@dataclass
class Report:
    """What a repair did. `lost_files` are the first ones of `lost_file_count`, each with its commit."""

    store: str
    damaged: int = 0
    damage: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    lost_files: list[str] = field(default_factory=list)
    lost_file_count: int = 0
    kept_in: str = ""

    def lines(self) -> Iterator[str]:
        """The report for people."""
        yield from (f"damaged: {text}" for text in self.damage)
        yield from (f"restored: {text}" for text in self.restored)
        yield from (f"lost: {text}" for text in self.lost)
        yield from (f"lost: {text}" for text in self.lost_files)
        if self.lost_file_count > len(self.lost_files):
            yield f"and {self.lost_file_count - len(self.lost_files)} more files of commits"
        if self.kept_in:
            yield f"what could not be used is in {self.kept_in}"
        if not self.damaged:
            yield f"{self.store}: nothing is damaged, nothing was changed"
        elif self.lost or self.lost_file_count:
            yield f"{self.store}: repaired; reading what is lost gives an error, all else can be read and written"
        else:
            yield f"{self.store}: repaired, nothing is lost"


def repair_store(root: Path) -> Report:
    """Repair the store in the directory `root`, whose lock the caller holds. May be cut off and run again.

    Raises OSError, StorageFullError, ConfigurationError for a store of another version.
    """
    try:
        before = verify.check(root)
    except ConfigurationError:  # an older version can be brought up to date; a newer one is refused once more
        Database(root / "pfs.db").close()
        before = verify.check(root)
    report = Report(str(root), before.damaged, before.damage)
    if not before.damaged:
        return report
    lost = LostAndFound(root)
    packs = Packs(root / "packs")
    try:
        database_path = root / "pfs.db"
        made = repair(database_path, lost, unsummed=UNSUMMED, has_data=any(packs.sizes().values()), distrust=True)
        report.restored += made.restored
        report.lost += made.lost
        if not made.has_database:
            _set_packs_aside(root / "packs", set(), lost)
        database = Database(database_path, has_data=False)
        try:
            _repair_content(database, packs, lost, report)
            if made.lost:
                with database.read() as db:
                    known = {number for (number,) in db.execute("SELECT id FROM pack")}
                _set_packs_aside(root / "packs", known, lost)
        finally:
            database.close()
    finally:
        packs.close()
    after = verify.check(root)
    if after.damaged:
        with contextlib.closing(read_only(database_path)) as db:
            files = LostFiles(db, packs)
            for text in files.all():
                report.lost_file_count += 1
                if len(report.lost_files) < _SHOWN:
                    report.lost_files.append(text)
            if not report.lost_file_count:
                report.lost += [text for text in after.damage if text not in report.lost]
    report.kept_in = str(lost.directory) if lost.directory is not None else ""
    return report


def _repair_content(database: Database, packs: Packs, lost: LostAndFound, report: Report) -> None:
    """Find damaged chunks in other packs, at the same place; of the others keep what is at their place."""
    sizes = packs.sizes()
    with database.read() as db:
        rows = db.execute("SELECT name, pack, start, length, sum FROM chunk ORDER BY pack, start").fetchall()
    elsewhere = [path for path in (*lost.everything(), lost.store / "lock") if path.is_file()]
    moved: list[tuple[int, int, bytes]] = []
    gone: list[tuple[bytes, Place]] = []
    packs_started = False
    for name, *values in rows:
        place = Place(*values)
        if _is_sound(packs, name, place):
            continue
        numbers = [number for number in sizes if _is_sound(packs, name, place._replace(pack=number))]
        if numbers:
            moved.append((numbers[0], place.start, name))
            continue
        data = _found(packs, name, place, elsewhere)
        if data is None:
            gone.append((name, place))
            continue
        if not packs_started:
            packs.start({}, fresh=True)
            packs_started = True
        moved.append((*packs.append(data)[:2], name))
    if packs_started:
        packs.sync()
        sizes = packs.sizes()
    require_space(lost.store, sum(_there(place, sizes) for _, place in gone))
    for name, place in gone:
        if there := _there(place, sizes):
            lost.keep(f"chunk-{name.hex()}", packs.read(place.pack, place.start, there))
    with database.read() as db:
        used = dict(db.execute("SELECT id, used FROM pack").fetchall())
    short = [number for number, length in used.items() if sizes.get(number, 0) < length]
    if not (moved or gone or short):
        return
    with database.write() as db:
        db.executemany("UPDATE chunk SET pack = ?, start = ? WHERE name = ?", moved)
        db.executemany("DELETE FROM chunk WHERE name = ?", [(name,) for name, _ in gone])
        db.execute("DELETE FROM pack")
        db.execute("INSERT INTO pack SELECT pack, max(start + length) FROM chunk GROUP BY pack")
    if moved:
        report.restored.append(f"{_counted(len(moved))} of content, which lay in other files")
    if gone:
        report.lost.append(f"{_counted(len(gone))} of content")


def _is_sound(packs: Packs, name: bytes, place: Place) -> bool:
    try:
        read_chunk(packs, name, place)
    except (DataError, OSError):
        return False
    return True


def _found(packs: Packs, name: bytes, place: Place, paths: list[Path]) -> bytes | None:
    """The bytes of a chunk from a file that took the place of another; None if none has them."""
    if _there(place, {place.pack: place.start + place.length}):
        for path in paths:
            if path.stat().st_size >= place.start + place.length:
                data = packs.read_from(path, place.start, place.length)
                if is_named(name, data):
                    return data
    return None


def _counted(chunks: int) -> str:
    return "1 chunk" if chunks == 1 else f"{chunks} chunks"


def _there(place: Place, sizes: dict[int, int]) -> int:
    """How many bytes there are at a place, which may make no sense."""
    numbers = (place.pack, place.start, place.length)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        return 0
    return max(min(place.length, sizes.get(place.pack, 0) - place.start), 0)


def _set_packs_aside(directory: Path, known: set[int], lost: LostAndFound) -> None:
    """Packs that nothing refers to may have what is missing elsewhere."""
    for name in sorted(os.listdir(directory)) if directory.is_dir() else ():
        path = directory / name
        stem, _, rest = name.partition(".")
        if rest != "pack" or not stem.isdecimal() or (int(stem) not in known and path.stat().st_size):
            lost.take(path)
