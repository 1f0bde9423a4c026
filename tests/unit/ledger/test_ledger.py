"""A ledger finds every damage of its database, or of itself, and gives back what was committed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pachmount.errors import StoreDamagedError
from pachmount.ledger import Ledger, Verdict, look, open_ledger, repair, snapshots
from pachmount.ledger.capture import catalog_sum
from pachmount.ledger.frames import LogWriter
from pachmount.ledger.lost import LostAndFound

_SCHEMA = """
CREATE TABLE parent (key INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
CREATE TABLE child (
    key INTEGER PRIMARY KEY,
    parent INTEGER REFERENCES parent (key) ON DELETE CASCADE,
    other INTEGER REFERENCES parent (key) ON DELETE SET NULL,
    data BLOB
);
CREATE TABLE note (one TEXT, two INTEGER, value TEXT NOT NULL, PRIMARY KEY (one, two)) WITHOUT ROWID;
CREATE TABLE big (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
"""
_TABLES = ("parent", "child", "note", "big", "sqlite_sequence")
Rows = dict[str, list[tuple[object, ...]]]


def _prepare(db: sqlite3.Connection) -> bool:
    if db.execute("PRAGMA user_version").fetchone()[0]:
        return False
    for statement in _SCHEMA.split(";\n"):
        if statement.strip():
            db.execute(statement)
    db.execute("PRAGMA user_version = 1")
    return True


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA foreign_keys = ON")
    return db


def _open(path: Path, boot: str = "one") -> Ledger:
    return open_ledger(path, lambda: _connect(path), prepare=_prepare, unsummed=("big",), boot=boot)


def _rows(path: Path) -> Rows:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return {table: sorted(db.execute(f"SELECT * FROM {table}").fetchall()) for table in _TABLES}


def _change(db: sqlite3.Connection, chance: random.Random) -> None:
    """Any of the ways in which statements change rows."""
    number = chance.randrange(40)
    parents = [key for (key,) in db.execute("SELECT key FROM parent")] or [None]
    statements: list[tuple[str, tuple[object, ...]]] = [
        ("INSERT OR IGNORE INTO parent (name) VALUES (?)", (f"p{number}",)),
        ("INSERT OR REPLACE INTO parent (key, name) VALUES (?, ?)", (number + 1, f"p{chance.randrange(40)}")),
        ("DELETE FROM parent WHERE key % 7 = ?", (number % 7,)),
        ("UPDATE OR REPLACE parent SET name = ? WHERE key = ?", (f"p{chance.randrange(40)}", number)),
        ("UPDATE OR IGNORE parent SET key = key + 1000 WHERE key = ?", (number,)),
        (
            "INSERT OR REPLACE INTO child VALUES (?, ?, ?, ?)",
            (number, chance.choice(parents), chance.choice(parents), chance.randbytes(50)),
        ),
        (
            "INSERT INTO note VALUES (?, ?, ?) ON CONFLICT (one, two) DO UPDATE SET value = value + excluded.value",
            (f"n{number % 3}", number % 5, number),
        ),
        ("DELETE FROM note WHERE two = ?", (number % 5,)),
        ("INSERT OR REPLACE INTO big VALUES (?, ?)", (number, chance.randbytes(300))),
        ("DELETE FROM big WHERE id = ?", (number,)),
    ]
    for statement, values in chance.choices(statements, k=chance.randrange(1, 12)):
        db.execute(statement, values)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store = tmp_path / "store"
    store.mkdir()
    return store / "names.db"


@contextlib.contextmanager
def _killed(path: Path, changes: int, seed: int = 0) -> Iterator[None]:
    """Transactions of a process that then ends without closing anything; the files stay as they are at that moment."""
    child = os.fork()
    if child == 0:
        try:
            opened = _open(path)
            chance = random.Random(seed)
            for _ in range(changes):
                durable = chance.random() < 0.5
                with contextlib.suppress(sqlite3.IntegrityError), opened.transaction(durable=durable) as db:
                    _change(db, chance)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    yield


def _fill(path: Path, changes: int = 30, seed: int = 0) -> Rows:
    with _killed(path, changes, seed):
        pass
    shutil.rmtree(path.parent.parent / "copy", ignore_errors=True)
    copy = shutil.copytree(path.parent, path.parent.parent / "copy") / path.name
    return _rows(copy)


def test_a_new_store_and_a_clean_end(path: Path) -> None:
    opened = _open(path)
    with opened.transaction() as db:
        db.execute("INSERT INTO parent (name) VALUES ('a')")
    generation = opened.generation
    opened.close()
    found = look(path, unsummed=("big",), boot="one")
    assert (found.verdict, found.problem) == (Verdict.WHOLE, "")
    opened = _open(path)
    assert opened.generation == generation
    opened.close()


@pytest.mark.parametrize("seed", range(8))
def test_the_snapshot_and_the_log_give_the_database(path: Path, seed: int, tmp_path: Path) -> None:
    expected = _fill(path, 60, seed)
    for name in (path.name, path.name + "-wal", path.name + "-shm"):
        path.with_name(name).unlink(missing_ok=True)
    with pytest.raises(StoreDamagedError, match="missing"):
        _open(path)
    done = repair(path, LostAndFound(path.parent), unsummed=("big",), boot="one")
    assert done.has_database
    assert not done.lost
    assert _rows(path) == expected
    _open(path).close()


def test_the_sum_is_kept_as_rows_change(path: Path) -> None:
    opened = _open(path)
    chance = random.Random(1)
    for _ in range(100):
        with contextlib.suppress(ZeroDivisionError, sqlite3.IntegrityError), opened.transaction() as db:
            _change(db, chance)
            if chance.random() < 0.3:
                raise ZeroDivisionError  # rolled back
    total = opened._total
    opened.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert catalog_sum(db, ("big",)) == total


@pytest.mark.parametrize("keep", [0, 32, 5000, 20000])
def test_a_database_whose_log_of_sqlite_was_cut_is_redone(path: Path, keep: int) -> None:
    expected = _fill(path)
    os.truncate(path.with_name(path.name + "-wal"), keep)
    opened = _open(path)
    opened.close()
    assert _rows(path) == expected


def test_a_big_transaction_goes_to_the_log_in_parts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachmount.ledger.capture.PART_BYTES", 10_000)
    opened = _open(path)
    with opened.transaction() as db:
        db.executemany("INSERT INTO big VALUES (?, ?)", [(number, bytes(1000)) for number in range(200)])
    size = opened.figures()["log_size"]
    with contextlib.suppress(ZeroDivisionError), opened.transaction() as db:
        db.execute("DELETE FROM big")
        db.executemany("INSERT INTO big VALUES (?, ?)", [(number, b"x" * 1000) for number in range(200)])
        assert opened.figures()["log_size"] > size
        raise ZeroDivisionError
    assert opened.figures()["log_size"] == size
    opened.close()
    expected = _rows(path)
    path.unlink()
    repair(path, LostAndFound(path.parent), unsummed=("big",), boot="one")
    assert _rows(path) == expected


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def _log(path: Path) -> Path:
    (found,) = (path.parent / "ledger").glob("*.log")
    return found


def _snapshot(path: Path) -> Path:
    (found,) = (path.parent / "ledger").glob("*.db")
    return found


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: _log(path).unlink(),
        lambda path: shutil.rmtree(path.parent / "ledger"),
        lambda path: os.truncate(_log(path), 10),
        lambda path: os.truncate(_log(path), 3000),
        lambda path: _flip(_log(path), 3000),
        lambda path: _flip(_log(path), 4),
        lambda path: _flip(_log(path), _log(path).stat().st_size - 20),
        lambda path: _snapshot(path).unlink(),
        lambda path: os.truncate(_snapshot(path), 1000),
    ],
)
def test_a_damaged_ledger_begins_anew(path: Path, damage: Callable[[Path], object]) -> None:
    expected = _fill(path)
    damage(path)
    had_files = (path.parent / "ledger").exists()
    opened = _open(path)
    with opened.transaction() as db:
        db.execute("INSERT INTO big VALUES (999, x'00')")
    opened.close()
    assert look(path, unsummed=("big",), boot="one").verdict is Verdict.WHOLE
    expected["big"] = sorted([*expected["big"], (999, b"\0")])
    assert _rows(path) == expected
    assert (path.parent / "lost+found").exists() is had_files


def _changed_row(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE parent SET name = name || 'x'")


def _vanished_row(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM note WHERE one = (SELECT min(one) FROM note)")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no database" * 1000),
        lambda path: os.truncate(path, path.stat().st_size // 2),
        lambda path: _flip(path, 30),
        lambda path: shutil.copy(path.parent / "old.db", path),
        _changed_row,
        _vanished_row,
    ],
)
def test_a_damaged_database_is_refused_and_repaired(path: Path, damage: Callable[[Path], object]) -> None:
    _open(path).close()
    shutil.copy(path, path.parent / "old.db")
    _fill(path)
    opened = _open(path)
    opened.rotate()
    with opened.transaction() as db:
        db.execute("INSERT INTO parent (name) VALUES ('last')")
        db.execute("INSERT INTO note VALUES ('a', 100, 'b')")
    opened.close()
    expected = _rows(path)
    damage(path)
    before = {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    with pytest.raises(StoreDamagedError):
        _open(path)
    assert {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()} == before
    done = repair(path, LostAndFound(path.parent), unsummed=("big",), boot="one")
    assert (done.has_database, done.lost) == (True, [])
    assert _rows(path) == expected
    _open(path).close()
    assert repair(path, LostAndFound(path.parent), unsummed=("big",), boot="one").restored == []
    kept = [file for file in (path.parent / "lost+found").rglob("*") if file.is_file()]
    if path in before:
        assert before[path] in [file.read_bytes() for file in kept]


def test_a_power_loss_may_tear_the_end_of_what_was_not_durable(path: Path) -> None:
    """The log ends in zeros, as a file system leaves what it had no time to write; SQLite's log is older."""
    opened = _open(path)
    with opened.transaction() as db:
        db.execute("INSERT INTO parent (name) VALUES ('durable')")
    place = opened.figures()["log_size"]
    opened.close()
    with open(_log(path), "ab") as file:
        file.write(bytes(500))
    with pytest.raises(StoreDamagedError, match="the ledger is damaged behind"):
        _open(path, "one")
    opened = _open(path, "two")
    assert opened.figures()["log_size"] < place + 200
    opened.close()
    assert ("durable",) in [row[1:] for row in _rows(path)["parent"]]
    assert look(path, unsummed=("big",), boot="two").verdict is Verdict.WHOLE


def test_a_power_loss_may_leave_a_database_that_is_newer(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened = _open(path)
    with opened.transaction() as db:
        db.execute("INSERT INTO parent (name) VALUES ('durable')")
    place = opened.figures()["log_size"]
    with opened.transaction(durable=False) as db:
        db.execute("INSERT INTO parent (name) VALUES ('soon')")
    opened.close()
    os.truncate(_log(path), place)
    _open(path, "two").close()
    assert "begins anew" not in caplog.text  # nothing that was promised is missing
    assert len(_rows(path)["parent"]) == 2


def test_what_a_killed_process_appended_and_did_not_commit_is_not_redone(path: Path) -> None:
    opened = _open(path)
    with opened.transaction() as db:
        db.execute("INSERT INTO parent (name) VALUES ('a')")
    opened.close()
    whole = _log(path).read_bytes()
    _fill(path, 3)
    more = _log(path).read_bytes()
    assert more.startswith(whole)
    _log(path).write_bytes(more[:-5])
    opened = _open(path)  # the database has it, so that the ledger begins anew
    opened.close()
    assert look(path, unsummed=("big",), boot="one").verdict is Verdict.WHOLE


def test_rotation_keeps_what_is_written_meanwhile(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = _open(path)
    make = snapshots.make

    def slow(*arguments: object) -> object:
        made = make(*arguments)  # type: ignore[arg-type]
        with opened.transaction() as db:
            db.execute("INSERT INTO parent (name) VALUES ('meanwhile')")
        return made

    monkeypatch.setattr(snapshots, "make", slow)
    opened.rotate()
    monkeypatch.undo()
    opened.close()
    assert sorted(file.name for file in (path.parent / "ledger").iterdir()) == ["2.db", "2.log"]
    expected = _rows(path)
    path.unlink()
    repair(path, LostAndFound(path.parent), unsummed=("big",), boot="one")
    assert _rows(path) == expected


def test_a_rotation_that_was_cut_off_leaves_the_old_log_in_use(path: Path) -> None:
    expected = _fill(path)
    (path.parent / "ledger" / "2.db").write_bytes(b"half")
    (path.parent / "ledger" / "2.log.new").write_bytes(b"half")
    _open(path).close()
    assert _rows(path) == expected
    assert sorted(file.name for file in (path.parent / "ledger").iterdir()) == ["1.db", "1.log"]


def test_a_frame_that_cannot_be_written_is_no_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = _open(path)
    size = opened.figures()["log_size"]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LogWriter, "append", full)
    with pytest.raises(OSError, match="No space"), opened.transaction() as db:
        db.execute("INSERT INTO parent (name) VALUES ('a')")
    monkeypatch.undo()
    monkeypatch.setattr(LogWriter, "sync", full)
    with pytest.raises(OSError, match="No space"), opened.transaction() as db:
        db.execute("INSERT INTO parent (name) VALUES ('a')")
    monkeypatch.undo()
    assert opened.figures()["log_size"] == size
    with opened.transaction() as db:  # in a new log, since nobody knows what the old one has on the disk
        db.execute("INSERT INTO parent (name) VALUES ('b')")
    opened.close()
    assert [row[1] for row in _rows(path)["parent"]] == ["b"]
    assert look(path, unsummed=("big",), boot="one").verdict is Verdict.WHOLE


def test_without_ledger_and_with_damage_rows_are_saved(path: Path) -> None:
    _open(path).close()
    _fill(path)
    _open(path).close()
    _changed_row(path)
    expected = _rows(path)
    shutil.rmtree(path.parent / "ledger")
    with pytest.raises(StoreDamagedError):
        _open(path)
    done = repair(path, LostAndFound(path.parent), unsummed=("big",), boot="one")
    assert done.has_database
    assert done.lost
    assert _rows(path) == expected
    _open(path).close()


def test_a_store_of_an_older_program_gets_a_ledger(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with contextlib.closing(_connect(path)) as db:
        db.executescript(_SCHEMA)
        db.execute("INSERT INTO parent (name) VALUES ('a')")
        db.execute("PRAGMA user_version = 1")
    _open(path).close()
    assert caplog.text == ""
    assert look(path, unsummed=("big",), boot="one").verdict is Verdict.WHOLE
    path.unlink()
    repair(path, LostAndFound(path.parent), unsummed=("big",), boot="one")
    assert _rows(path)["parent"] == [(1, "a")]


def test_a_missing_database_beside_data_is_no_new_store(path: Path) -> None:
    assert look(path).verdict is Verdict.NEW
    found = look(path, has_data=True)
    assert found.verdict is Verdict.DAMAGED
    assert "missing" in found.problem


class _Full(sqlite3.Connection):
    """A connection whose COMMIT finds no space on the disk, as long as it `is_full`."""

    is_full = False

    def execute(self, sql: str, *rest: object) -> sqlite3.Cursor:  # type: ignore[override]
        if sql == "COMMIT" and self.is_full:
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(sql, *rest)  # type: ignore[arg-type]


def test_a_commit_that_fails_after_its_frame_leaves_none(path: Path) -> None:
    def connect() -> sqlite3.Connection:
        db = sqlite3.connect(path, isolation_level=None, factory=_Full)
        db.execute("PRAGMA journal_mode = WAL")
        return db

    opened = open_ledger(path, connect, prepare=_prepare, unsummed=("big",), boot="one")
    size = opened.figures()["log_size"]
    _Full.is_full = True
    with pytest.raises(sqlite3.OperationalError, match="full"), opened.transaction() as db:
        db.execute("INSERT INTO parent (name) VALUES ('a')")
    _Full.is_full = False
    assert opened.figures()["log_size"] == _log(path).stat().st_size == size
    with opened.transaction() as db:
        db.execute("INSERT INTO parent (name) VALUES ('b')")
    opened.close()
    _open(path).close()
    assert [row[1] for row in _rows(path)["parent"]] == ["b"]


def test_a_full_disk_leaves_the_old_log_in_use(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = _open(path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for step in ("make", "require_space", "fingerprint"):
        monkeypatch.setattr(snapshots, step, full)
        with pytest.raises(OSError, match="No space"):
            opened.rotate()
        monkeypatch.undo()
    monkeypatch.setattr(LogWriter, "sync", full)
    with pytest.raises(OSError, match="No space"):
        opened.rotate()
    monkeypatch.undo()
    assert sorted(file.name for file in (path.parent / "ledger").iterdir()) == ["1.db", "1.log"]
    with opened.transaction() as db:
        db.execute("INSERT INTO parent (name) VALUES ('a')")
    opened.close()
    assert look(path, unsummed=("big",), boot="one").verdict is Verdict.WHOLE


def test_writers_go_on_while_logs_are_replaced(path: Path) -> None:
    opened = _open(path)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with opened.transaction(durable=number % 3 == 0) as db:
                db.execute("INSERT INTO big VALUES (?, ?)", (number, bytes(100)))
                db.execute("INSERT OR REPLACE INTO note VALUES ('n', ?, 'x')", (number % 50,))

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(5):
        opened.rotate()
    stop.set()
    writer.join()
    opened.close()
    expected = _rows(path)
    path.unlink()
    assert not repair(path, LostAndFound(path.parent), unsummed=("big",), boot="one").lost
    assert _rows(path) == expected
