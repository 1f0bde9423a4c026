"""Stores of other versions: an older one is brought up to date, a newer one is refused.

data/v1 is a store as version 1 wrote it: its database as SQL, and its only pack.
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from pachmount.errors import ConfigurationError, DataError, from_dict
from pachmount.localpfs import database, verify
from pachmount.localpfs.store import Store
from pachmount.pfs.proto import pfs_pb2
from tests.localpfs.servers import add, launch, modify, on_branch, read, repo, running, walk

_DATA = Path(__file__).parent / "data" / "v1"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    (root / "packs").mkdir(parents=True)
    shutil.copy(_DATA / "1.pack", root / "packs")
    db = sqlite3.connect(root / "pfs.db")
    db.executescript((_DATA / "pfs.sql").read_text())
    db.close()
    return root


def _version(root: Path) -> int:
    db = sqlite3.connect(root / "pfs.db")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    db.close()
    return int(version)


def test_an_older_store_is_upgraded(old: Path, tmp_path: Path) -> None:
    assert _version(old) == 1
    with running(old, f"unix://{tmp_path}/s") as server:
        (info,) = server.pfs.ListRepo(pfs_pb2.ListRepoRequest())
        assert info.description == "of version 1"
        assert len(list(server.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=repo("images"))))) == 3
        paths = [info.file.path for info in walk(server, on_branch("images"))]
        assert paths == ["/", "/b/", "/b/c", "/d/", *[f"/d/f{number}" for number in range(10)]]
        assert [read(server, on_branch("images"), f"/d/f{number}") for number in range(10)] == [
            b"%d" % number for number in range(10)
        ]
        modify(server, on_branch("images", "open"), add("/x", b" and more"))
        assert read(server, on_branch("images", "open"), "/x") == b"not finished and more"
    assert _version(old) == database.SCHEMA_VERSION
    assert verify.check(old).damage == []


def test_an_upgrade_that_fails_changes_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (old / "pfs.db").read_bytes()
    script = "ALTER TABLE project ADD COLUMN colour TEXT;\nINSERT INTO nowhere VALUES (1);\n"
    monkeypatch.setitem(database._UPGRADES, 1, script)
    with pytest.raises(DataError):
        Store(old)
    assert _version(old) == 1
    db = sqlite3.connect(old / "pfs.db")
    assert "colour" not in [row[1] for row in db.execute("PRAGMA table_info(project)")]
    db.close()
    monkeypatch.undo()
    Store(old).close()
    assert before != (old / "pfs.db").read_bytes()


def test_upgraded_and_new_stores_have_the_same_tables(old: Path, tmp_path: Path) -> None:
    Store(old).close()
    Store(tmp_path / "new").close()
    columns = []
    for root in (old, tmp_path / "new"):
        db = sqlite3.connect(root / "pfs.db")
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        columns.append({name: db.execute(f"PRAGMA table_info({name})").fetchall() for name in tables})
        db.close()
    assert columns[0] == columns[1]


def test_every_version_has_an_upgrade() -> None:
    assert sorted(database._UPGRADES) == list(range(1, database.SCHEMA_VERSION))


def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "store"
    monkeypatch.setattr(database, "SCHEMA_VERSION", database.SCHEMA_VERSION + 1)
    Store(root).close()
    monkeypatch.undo()
    before = (root / "pfs.db").read_bytes()
    process, said = launch(root, f"unix://{tmp_path}/s")
    assert process.wait(10) == ConfigurationError.exit_code
    error = from_dict(said["error"])
    assert isinstance(error, ConfigurationError)
    assert str(database.SCHEMA_VERSION + 1) in error.what
    assert "update pachmount" in error.hint
    assert (root / "pfs.db").read_bytes() == before
