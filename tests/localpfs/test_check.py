"""`--check` finds whatever was damaged in a store; `--gc` removes what nothing needs, and nothing else."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from pachmount.errors import BusyError, ConfigurationError, NotFoundError
from pachmount.localpfs import verify
from pachmount.localpfs.database import mark_garbage
from pachmount.localpfs.pages import Leaf, decode, encode_leaf
from pachmount.localpfs.store import Store
from pachmount.pfs.proto import pfs_pb2
from tests.localpfs.replay import fill
from tests.localpfs.servers import add, delete, modify, on_branch, read, repo, running

_BIG = fill("big", 9_000_000)


def tool(root: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m pachmount.localpfs` with `--check` or `--gc`."""
    command = [sys.executable, "-m", "pachmount.localpfs", "--root", str(root), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with some commits, an open one, and a file set; no server has it."""
    folder = tmp_path_factory.mktemp("sound")
    store = folder / "store"
    with running(store, f"unix://{folder}/s") as server:
        server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("r")))
        files = [add(f"/d{number % 3}/f{number:03}", b"%d" % number * 30) for number in range(300)]
        modify(server, on_branch("r"), *files, add("/big", _BIG), add("/empty"))
        modify(server, on_branch("r"), delete("/d0/f003"), add("/new", b"n"))
        branch = pfs_pb2.Branch(name="open", repo=repo("r"))
        commit = server.pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=branch))
        modify(server, commit, add("/open", b"o"))
        server.pfs.GetFileSet(pfs_pb2.GetFileSetRequest(commit=on_branch("r"), type=pfs_pb2.GetFileSetRequest.TOTAL))
    return store


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A copy of that store, to be damaged."""
    return shutil.copytree(sound, tmp_path / "store")


def _report(root: Path) -> dict[str, object]:
    done = tool(root, "--check", "--json")
    report: dict[str, object] = json.loads(done.stdout)
    assert done.returncode == (1 if report["damaged"] else 0), done.stderr
    return report


def test_a_sound_store(root: Path) -> None:
    report = _report(root)
    assert report["damage"] == []
    assert report["strays"] == []
    assert (report["commits"], report["filesets"]) == (3, 1)
    assert report["chunks"] == 300 + 2 + 3 + 1  # small files, the big one's pieces and their list
    assert report["leftover_chunks"] == report["leftover_bytes"] == 0
    done = tool(root, "--check")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == f"{root}: no damage"


def _sql(root: Path, statement: str, *values: object) -> None:
    db = sqlite3.connect(root / "pfs.db")
    with db:
        assert db.execute(statement, values).rowcount
    db.close()


def _flip(path: Path, offset: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        byte = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([byte ^ 1]))


def _pack(root: Path) -> Path:
    (path,) = (one for one in (root / "packs").iterdir() if one.stat().st_size)
    return path


def _change_leaf(root: Path, change: Callable[[Leaf], bytes], *, honest: bool = True) -> None:
    """Put another page in the place of the leaf with the most entries; `honest`: with the right checksum."""
    db = sqlite3.connect(root / "pfs.db")
    leaves = [(page_id, decode(data)) for page_id, data in db.execute("SELECT id, data FROM page")]
    page_id, page = max(
        ((i, p) for i, p in leaves if isinstance(p, Leaf)), key=lambda pair: (any(pair[1].kinds), len(pair[1].keys))
    )
    data = change(page)
    with db:
        db.execute("UPDATE page SET data = ? WHERE id = ?", (data, page_id))
        if honest:
            db.execute("UPDATE page SET crc = ? WHERE id = ?", (zlib.crc32(data), page_id))
    db.close()


def _without_one(page: Leaf) -> bytes:
    items = page.items()
    del items[len(items) // 2]
    return encode_leaf(items)


def _swapped(page: Leaf) -> bytes:
    items = page.items()
    items[3], items[4] = items[4], items[3]
    return encode_leaf(items)


def _longer(page: Leaf) -> bytes:
    items = page.items()
    at = next(at for at, (key, entry) in enumerate(items) if not entry.is_dir)
    items[at] = (items[at][0], items[at][1]._replace(size=items[at][1].size + 1))
    return encode_leaf(items)


def _other_hash(page: Leaf) -> bytes:
    items = page.items()
    at = next(at for at, (key, entry) in enumerate(items) if entry.is_dir)
    items[at] = (items[at][0], items[at][1]._replace(hash=bytes(32)))
    return encode_leaf(items)


_DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte of a chunk": (lambda root: _flip(_pack(root), 5_000_000), "is not as it was written"),
    "a pack that ends early": (lambda root: _pack(root).write_bytes(_pack(root).read_bytes()[:-5]), "ends before"),
    "a pack that is gone": (lambda root: _pack(root).unlink(), "is missing"),
    "chunks that are gone": (lambda root: _sql(root, "DELETE FROM chunk WHERE length > 1000000"), "chunks are missing"),
    "a list of chunks that is gone": (lambda root: _sql(root, "DELETE FROM chunk WHERE length = 96"), "the list of"),
    "a chunk in a wrong place": (lambda root: _sql(root, "UPDATE chunk SET start = start + 1"), "not as it was"),
    "a byte of a page": (lambda root: _change_leaf(root, _longer, honest=False), "is not as it was written"),
    "half a page": (lambda root: _change_leaf(root, lambda page: encode_leaf(page.items())[:-700]), "not complete"),
    "a page of nonsense": (lambda root: _change_leaf(root, lambda page: b"\1\xff"), "cannot be decoded"),
    "a page that is gone": (
        lambda root: _sql(root, "DELETE FROM page WHERE id = (SELECT min(id) FROM page)"),
        "is missing",
    ),
    "an entry that is gone": (lambda root: _change_leaf(root, _without_one), "the directory"),
    "entries out of order": (lambda root: _change_leaf(root, _swapped), "not in order"),
    "a wrong size": (lambda root: _change_leaf(root, _longer), "do not add up"),
    "a wrong hash of a directory": (lambda root: _change_leaf(root, _other_hash), "the hash of the directory"),
    "a branch without head": (lambda root: _sql(root, "UPDATE branch SET head = 99 WHERE name = 'open'"), "head"),
    "a commit with a wrong size": (
        lambda root: _sql(root, "UPDATE revision SET size = 5 WHERE key = 1"),
        "5 are noted",
    ),
    "a row without its parent": (lambda root: _sql(root, "UPDATE revision SET parent = 99 WHERE key = 2"), "refers to"),
    "no database": (lambda root: (root / "pfs.db").write_bytes(b"no database" * 1000), "not a database"),
    "a database with a hole": (lambda root: _overwrite(root / "pfs.db", 3 * 16384, bytes(16384)), ""),
}


def _overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


@pytest.mark.parametrize("what", _DAMAGE)
def test_damage_is_found(root: Path, what: str) -> None:
    make, text = _DAMAGE[what]
    assert verify.check(root).damage == []
    make(root)
    report = verify.check(root)
    assert report.damaged
    assert any(text in line for line in report.damage), report.damage


def test_reading_what_is_damaged_is_data_loss(root: Path, tmp_path: Path) -> None:
    _sql(root, "DELETE FROM chunk WHERE length > 1000000")
    with running(root, f"unix://{tmp_path}/s") as server:
        with pytest.raises(grpc.RpcError) as caught:
            read(server, on_branch("r"), "/big")
        assert caught.value.code() is grpc.StatusCode.DATA_LOSS
        assert "serve --check" in caught.value.details()
        assert read(server, on_branch("r"), "/new") == b"n"


def test_damage_does_not_keep_the_server_from_starting(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    with store.database.write() as db:
        mark_garbage(db)  # so that the start wants to sweep
    store.close()
    _sql(root, "DELETE FROM chunk WHERE length = 96")
    with running(root, f"unix://{tmp_path}/s") as server:
        assert read(server, on_branch("r"), "/new") == b"n"
    done = tool(root, "--gc")
    assert done.returncode == 1
    assert "damaged" in done.stderr


def test_strays_are_named(root: Path) -> None:
    (root / "packs" / "x.tmp").write_bytes(b"?")
    report = _report(root)
    assert report["strays"] == [str(root / "packs" / "x.tmp")]


def test_check_changes_nothing(root: Path) -> None:
    with _pack(root).open("ab") as stream:
        stream.write(b"of a call that a crash cut off")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    report = _report(root)
    assert report["leftover_bytes"] == 30
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_gc_removes_what_nothing_needs(root: Path, tmp_path: Path) -> None:
    lost = fill("lost", 3_000_000)
    with running(root, f"unix://{tmp_path}/s") as server:
        server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("gone")))
        modify(server, on_branch("gone"), add("/big", _BIG), add("/lost", lost))
        server.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo("gone")))
    assert _report(root)["leftover_chunks"] == 1
    done = tool(root, "--gc", "--json")
    assert done.returncode == 0, done.stderr
    freed = json.loads(done.stdout)
    assert freed["before"] - freed["after"] >= 0.9 * len(lost)  # a new snapshot of the database takes some
    report = _report(root)
    assert report["damage"] == []
    assert (report["leftover_pages"], report["leftover_chunks"], report["leftover_bytes"]) == (0, 0, 0)
    assert (report["commits"], report["filesets"]) == (3, 1)
    with running(root, f"unix://{tmp_path}/s") as server:
        assert read(server, on_branch("r"), "/big") == _BIG
        assert read(server, on_branch("r", "open"), "/open") == b"o"
    assert "removed 0 bytes" in tool(root, "--gc").stdout


@pytest.mark.parametrize("flag", ["--check", "--gc"])
def test_not_while_a_server_has_the_store(root: Path, tmp_path: Path, flag: str) -> None:
    with running(root, f"unix://{tmp_path}/s"):
        done = tool(root, flag)
        assert done.returncode == BusyError.exit_code
        assert f"the store {root} is in use" in done.stderr
        assert "stop that server" in done.stderr


@pytest.mark.parametrize("flag", ["--check", "--gc"])
def test_not_without_a_store(tmp_path: Path, flag: str) -> None:
    done = tool(tmp_path / "nothing", flag)
    assert done.returncode == NotFoundError.exit_code
    assert not (tmp_path / "nothing").exists()


def test_check_of_another_version(root: Path) -> None:
    _sql(root, "INSERT INTO meta VALUES ('x', '')")
    db = sqlite3.connect(root / "pfs.db")
    db.execute("PRAGMA user_version = 1")
    db.close()
    done = tool(root, "--check")
    assert done.returncode == ConfigurationError.exit_code
    assert "start the server once" in done.stderr


def test_by_the_command_line(root: Path) -> None:
    command = [sys.executable, "-m", "pachmount", "serve", "--root", str(root)]
    done = subprocess.run([*command, "--check"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("no damage\n")
    done = subprocess.run([*command, "--gc", "--json"], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["store"] == str(root)
    done = subprocess.run([*command[:-1], str(root / "nothing"), "--check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == NotFoundError.exit_code
    assert "there is no store" in done.stderr
