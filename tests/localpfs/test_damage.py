"""A damaged store: right bytes, or an error that says what helps, with all data still on the disk; then `--repair`."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from pachmount.errors import StoreDamagedError, from_dict
from pachmount.ledger import LostAndFound, snapshots
from pachmount.localpfs import repair, verify
from pachmount.localpfs.store import Store
from pachmount.pfs.proto import pfs_pb2
from tests.integration.box import Box
from tests.localpfs.damage import Harness
from tests.localpfs.replay import fill
from tests.localpfs.servers import add, launch, modify, on_branch, read, repo, running, start, walk
from tests.localpfs.test_check import tool

_BIG = fill("big", 6_000_000)


def _run(directory: Path, rounds: int, seed: int, record: pytest.CaptureFixture[str]) -> None:
    harness = Harness(directory, seed)
    harness.run(rounds)
    with record.disabled():
        print("", *harness.lines(), sep="\n  ")
    assert sum(harness.ends.values()) == rounds


@pytest.mark.timeout(600)
def test_30_rounds_of_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run(tmp_path, 30, 7, capsys)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_200_rounds_of_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run(tmp_path, 200, 8, capsys)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three commits, as a kill leaves it."""
    folder = tmp_path_factory.mktemp("killed")
    server = start(folder / "store", f"unix://{folder}/s")
    server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("r")))
    modify(server, on_branch("r"), add("/big", _BIG))
    modify(server, on_branch("r"), add("/small", b"small"))
    modify(server, on_branch("r"), add("/last", b"last"))
    server.kill()
    server.channel.close()
    return folder / "store"


@pytest.fixture
def root(killed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(killed, tmp_path / "store")


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def _is_all_there(root: Path) -> None:
    with running(root, f"unix://{root.parent}/s") as server:
        assert [info.file.path for info in walk(server, on_branch("r"))] == ["/", "/big", "/last", "/small"]
        assert read(server, on_branch("r"), "/big") == _BIG
        assert read(server, on_branch("r"), "/last") == b"last"


@pytest.mark.parametrize(
    "damage",
    [
        lambda wal: _flip(wal, wal.stat().st_size // 2),
        lambda wal: _flip(wal, 5),
        lambda wal: wal.write_bytes(wal.read_bytes()[:40_000]),
        lambda wal: wal.write_bytes(b""),
        lambda wal: wal.unlink(),
    ],
)
def test_what_the_log_of_sqlite_lost_comes_from_the_ledger(root: Path, damage: Callable[[Path], object]) -> None:
    packs = (root / "packs" / "1.pack").stat().st_size
    damage(root / "pfs.db-wal")
    _is_all_there(root)
    assert (root / "packs" / "1.pack").stat().st_size == packs


@pytest.mark.parametrize("state", ["missing", "empty", "no database"])
def test_a_store_without_its_database_is_no_new_store(root: Path, state: str) -> None:
    database = root / "pfs.db"
    if state == "missing":
        for path in root.glob("pfs.db*"):
            path.unlink()
    else:
        database.write_bytes(b"" if state == "empty" else b"no database" * 1000)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.suffix != ".db-shm"}
    process, said = launch(root, f"unix://{root.parent}/s")
    process.wait(20)
    error = from_dict(said["error"])
    assert isinstance(error, StoreDamagedError)
    assert "pachmount serve --repair" in error.hint
    assert {path: path.read_bytes() for path in before} == before
    assert tool(root, "--check").returncode == 1
    done = tool(root, "--repair", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["lost"], report["lost_file_count"]) == ([], 0)
    assert report["restored"]
    _is_all_there(root)
    assert "nothing is damaged, nothing was changed" in tool(root, "--repair").stdout


def test_a_damaged_chunk_is_an_error_and_heals_when_its_content_comes_again(root: Path) -> None:
    pack = root / "packs" / "1.pack"
    _flip(pack, pack.read_bytes().index(_BIG[4_500_000:4_500_100]))  # chunks may be in any order
    with running(root, f"unix://{root.parent}/s") as server:
        for offset in (0, 4_200_000, 5_999_999):
            with pytest.raises(grpc.RpcError) as caught:
                read(server, on_branch("r"), "/big", offset)
            assert caught.value.code() is grpc.StatusCode.DATA_LOSS
        with pytest.raises(grpc.RpcError):  # nor does it become part of another file
            modify(server, on_branch("r"), add("/big", b"and more"))
        request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=on_branch("r"), path="/"))
        with pytest.raises(grpc.RpcError) as caught:
            list(server.pfs.GetFileTAR(request))
        assert caught.value.code() is grpc.StatusCode.DATA_LOSS
        assert read(server, on_branch("r"), "/small") == b"small"
        modify(server, on_branch("r"), add("/again", _BIG))
        assert read(server, on_branch("r"), "/big") == _BIG
    assert verify.check(root).damage == []


@pytest.mark.parametrize("state", ["missing", "short"])
def test_without_a_pack_the_store_can_only_be_read(root: Path, state: str) -> None:
    pack = root / "packs" / "1.pack"
    data = pack.read_bytes()
    pack.unlink() if state == "missing" else pack.write_bytes(data[:5_000_000])
    with running(root, f"unix://{root.parent}/s") as server:
        assert len(walk(server, on_branch("r"))) == 4
        with pytest.raises(grpc.RpcError) as caught:
            read(server, on_branch("r"), "/last")
        assert caught.value.code() is grpc.StatusCode.DATA_LOSS
        master = pfs_pb2.Branch(name="master", repo=repo("r"))
        for change in (
            lambda: modify(server, on_branch("r"), add("/x", b"x")),
            lambda: server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("other"))),
            lambda: server.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo("r"))),
            lambda: server.pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=master)),
            lambda: server.pfs.CreateFileSet(iter([add("/x", b"x")])),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                change()
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert "1.pack is missing or too short" in caught.value.details()
            assert "serve --repair" in caught.value.details()
    assert tool(root, "--gc").returncode == 1
    pack.write_bytes(data)
    _is_all_there(root)


def test_a_repair_says_which_files_are_lost_and_the_store_takes_changes_again(root: Path) -> None:
    (root / "packs" / "1.pack").write_bytes((root / "packs" / "1.pack").read_bytes()[:5_000_000])
    done = tool(root, "--repair", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    lost = [text.split(" of commit default/r@")[0] for text in report["lost_files"]]
    assert (sorted(lost), report["lost_file_count"]) == (sorted(["/big"] * 3 + ["/small"] * 2 + ["/last"]), 6)
    assert any(Path(report["kept_in"]).iterdir())
    with running(root, f"unix://{root.parent}/s") as server:
        modify(server, on_branch("r"), add("/new", b"new"))
        assert read(server, on_branch("r"), "/new") == b"new"
        with pytest.raises(grpc.RpcError):
            read(server, on_branch("r"), "/last")


def test_packs_that_changed_places_are_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachmount.localpfs.packs.PACK_BYTES", 1_000_000)
    store = Store(root)  # begins a new pack, since the first one is full now
    store.close()
    with running(root, f"unix://{root.parent}/s") as server:
        modify(server, on_branch("r"), add("/other", fill("other", 50_000)))
    one, other = root / "packs" / "1.pack", root / "packs" / "2.pack"
    one.rename(root / "x")
    other.rename(one)
    (root / "x").rename(other)
    done = tool(root, "--repair")
    assert "of content, which lay in other files" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
    with running(root, f"unix://{root.parent}/s") as server:
        assert read(server, on_branch("r"), "/big") == _BIG
        assert read(server, on_branch("r"), "/other") == fill("other", 50_000)


def test_rows_of_chunks_come_back_from_the_ledger(root: Path) -> None:
    Store(root).close()
    db = sqlite3.connect(root / "pfs.db")
    with db:
        db.execute("DELETE FROM chunk WHERE length > 1000")
        db.execute("DELETE FROM page WHERE id = 1")
    db.close()
    assert tool(root, "--check").returncode == 1
    done = tool(root, "--repair")
    assert done.returncode == 0, done.stdout + done.stderr
    _is_all_there(root)


def test_a_repair_that_was_cut_off_can_be_run_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    (root / "pfs.db").write_bytes(b"")
    for name in ("take", "_free"):
        steps = 0
        while True:  # a kill before the first step, then before the second, ...
            copy = shutil.copytree(root, root.parent / f"copy-{name}-{steps}")
            left = steps
            real = getattr(LostAndFound, name)

            def step(self: LostAndFound, *rest: object, real: object = real) -> object:
                nonlocal left
                if not left:
                    raise Killed
                left -= 1
                return real(self, *rest)  # type: ignore[operator]

            monkeypatch.setattr(LostAndFound, name, step)
            try:
                repair.repair_store(copy)
                is_done = True
            except Killed:
                is_done = False
            monkeypatch.undo()
            assert not repair.repair_store(copy).lost
            _is_all_there(copy)
            if is_done:
                break
            steps += 1
        assert steps >= 1


def test_a_repair_looks_for_space_before_it_begins(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "pfs.db").write_bytes(b"")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    class Full:
        f_bavail = 0
        f_frsize = 4096

    monkeypatch.setattr(snapshots.os, "statvfs", lambda _: Full)
    with pytest.raises(Exception, match="no space left"):
        repair.repair_store(root)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_what_the_client_says(root: Path) -> None:
    """`list` and `doctor` name what is damaged and what helps, never a login."""
    with contextlib.closing(Box()) as box:
        store = box.root / "data" / "pachmount" / "local"
        shutil.copytree(root, store)
        (store / "pfs.db").write_bytes(b"")
        done = box.run("list")
        assert done.returncode != 0
        assert "pfs.db is empty" in done.stderr
        assert "hint: pachmount serve --repair" in done.stderr
        assert "login" not in done.stderr
        found = box.run("doctor").stdout
        assert "pachmount serve --repair" in found
        assert box.run("serve", "--repair").returncode == 0
        assert box.run("list", "r").returncode == 0
