"""What lasts and what goes when a server is killed or ends; test_crash.py kills at random."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachmount.localpfs import sweep
from pachmount.localpfs.store import Store
from pachmount.pfs.proto import pfs_pb2
from tests.localpfs.replay import fill
from tests.localpfs.servers import add, modify, on_branch, read, repo, running, start, walk


def test_an_open_commit_survives(tmp_path: Path) -> None:
    server = start(tmp_path / "store", f"unix://{tmp_path}/s")
    server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("r")))
    branch = pfs_pb2.Branch(name="master", repo=repo("r"))
    commit = server.pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=branch))
    modify(server, commit, add("/a", b"1"))
    server.kill()
    server.channel.close()
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        modify(server, commit, add("/a", b"2"))
        server.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=commit))
        assert read(server, on_branch("r"), "/a") == b"12"


def _two_weeks_pass(root: Path) -> None:
    """Make everything in a store that no server has as old as if it had been left alone for so long."""
    past = time.time() - sweep.GRACE_SECONDS - 1
    for path in (root / "packs").iterdir():
        os.utime(path, (past, past))
    store = Store(root)
    with store.database.write() as db:
        db.execute("UPDATE meta SET value = ? WHERE name IN ('proven', 'unneeded')", (str(int(past * 1e9)),))
        for table in ("unneeded_page", "unneeded_chunk"):
            db.execute(f"UPDATE {table} SET since = ?", (int(past * 1e9),))
    store.close()


def test_leftovers_of_a_killed_stream_are_removed_two_weeks_later(tmp_path: Path) -> None:
    server = start(tmp_path / "store", f"unix://{tmp_path}/s")
    server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("r")))
    modify(server, on_branch("r"), add("/kept", b"k" * 1000))
    packs = tmp_path / "store" / "packs"

    def left() -> int:
        return sum(path.stat().st_size for path in packs.iterdir())

    before = left()
    taken = threading.Event()

    def endless() -> Iterator[pfs_pb2.ModifyFileRequest]:
        yield pfs_pb2.ModifyFileRequest(set_commit=on_branch("r"))
        for number in range(1000):
            if left() > before + 10_000_000:
                taken.set()
                threading.Event().wait(0.01)
            yield add(f"/lost{number}", bytes([number % 256]) * 1_000_000)

    call = server.pfs.ModifyFile.future(endless())
    assert taken.wait(30)
    server.kill()
    assert call.exception(30) is not None
    server.channel.close()
    assert left() > before + 10_000_000
    Store(tmp_path / "store").close()
    assert left() > before + 10_000_000
    _two_weeks_pass(tmp_path / "store")
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        assert left() == before
        assert [info.file.path for info in walk(server, on_branch("r"))] == ["/", "/kept"]


def test_sweep_keeps_what_is_needed_and_nothing_else(tmp_path: Path) -> None:
    big = fill("big", 10_000_000)
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        for name in ("kept", "gone"):
            server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo(name)))
        files = [add(f"/f{number}", b"%d" % number * 50) for number in range(500)]
        modify(server, on_branch("kept"), *files[:250], add("/big", big))
        modify(server, on_branch("gone"), *files[100:], add("/big", fill("other", 15_000_000)))
        server.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo("gone")))
    packs = tmp_path / "store" / "packs"
    before = sum(path.stat().st_size for path in packs.iterdir())
    Store(tmp_path / "store").close()
    assert sum(path.stat().st_size for path in packs.iterdir()) == before  # it is only noted what is not needed
    _two_weeks_pass(tmp_path / "store")
    Store(tmp_path / "store").close()
    assert sum(path.stat().st_size for path in packs.iterdir()) < before / 2  # only the big file of "kept" is left
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        for number in range(250):
            assert read(server, on_branch("kept"), f"/f{number}") == b"%d" % number * 50
        assert read(server, on_branch("kept"), "/big") == big
    store = Store(tmp_path / "store")
    with store.database.read() as db:
        chunks = db.execute("SELECT count(*) FROM chunk").fetchone()[0]
        pages = db.execute("SELECT count(*) FROM page").fetchone()[0]
    store.close()
    assert chunks == 250 + 3 + 1  # small files; three pieces of the big one; the list of them
    assert pages <= 10


def test_pages_that_an_open_commit_left_behind_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("r")))
        branch = pfs_pb2.Branch(name="master", repo=repo("r"))
        commit = server.pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=branch))
        for number in range(250):
            modify(server, commit, add(f"/{number}"))
    for limit, least, most in ((2000, 250, 1000), (200, 3, 20)):  # little is left for later
        monkeypatch.setattr(sweep, "MUCH_GARBAGE", limit)
        monkeypatch.setattr(sweep, "GRACE_SECONDS", 0)
        store = Store(tmp_path / "store")
        with store.database.read() as db:
            pages = db.execute("SELECT count(*) FROM page").fetchone()[0]
        store.close()
        assert least <= pages <= most
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        assert len(walk(server, commit)) == 251
