"""A server that runs for long removes what it does not need any more, and keeps nobody waiting for that."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from pachmount.localpfs import address, idle, server, sweep
from pachmount.localpfs.idle import Calls
from pachmount.localpfs.store import Store
from pachmount.pfs.proto import pfs_pb2
from tests.localpfs.replay import fill
from tests.localpfs.servers import Server, add, connect, modify, on_branch, read, repo


def test_not_alone_while_a_call_runs_or_has_just_ended() -> None:
    calls = Calls()
    with calls.one(), calls.alone(0) as undisturbed:
        assert undisturbed is None
    with calls.alone(60) as undisturbed:
        assert undisturbed is None
    with calls.alone(0) as undisturbed:
        assert undisturbed is not None
        assert undisturbed()


def test_a_call_that_comes_is_noticed_and_waits() -> None:
    calls = Calls()
    done = threading.Event()

    def call() -> None:
        with calls.one():
            done.set()

    with calls.alone(0) as undisturbed:
        assert undisturbed is not None
        thread = threading.Thread(target=call)
        thread.start()
        deadline = time.monotonic() + 10
        while undisturbed():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert not done.is_set()
    assert done.wait(10)
    thread.join()


def test_a_running_server_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(idle, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(sweep, "GRACE_SECONDS", 0)
    store = Store(tmp_path / "store")
    packs = tmp_path / "store" / "packs"

    def stored() -> int:
        return sum(path.stat().st_size for path in packs.iterdir())

    with server._running(store, address.parse(f"unix://{tmp_path}/s")) as bound, connect(bound.public) as channel:
        local = Server(None, bound.public, channel)  # type: ignore[arg-type]
        for name in ("kept", "gone"):
            local.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo(name)))
            modify(local, on_branch(name), add("/f", fill(name, 5_000_000)))
        waiting = local.pfs.SubscribeCommit(pfs_pb2.SubscribeCommitRequest(repo=repo("kept"), branch="master"))
        next(waiting)  # a call that stays
        local.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo("gone")))
        deadline = time.monotonic() + 20
        while store.needs_sweep() or stored() > 5_000_100:
            assert time.monotonic() < deadline, "nothing was swept"
            time.sleep(0.05)
        assert read(local, on_branch("kept"), "/f") == fill("kept", 5_000_000)
        modify(local, on_branch("kept"), add("/g", fill("gone", 5_000_000)))  # chunks that were there once
        assert read(local, on_branch("kept"), "/g") == fill("gone", 5_000_000)
        waiting.cancel()
    store.close()


def test_a_sweep_that_is_not_wanted_changes_nothing(store: Store) -> None:
    with store.database.write() as db:
        db.execute("INSERT INTO page VALUES (1, x'00', 0)")
        db.execute("INSERT INTO project (name, description, created) VALUES ('p', '', 0)")
        db.execute("INSERT INTO repo (project, name, type, description, created) VALUES ('p', 'r', 'user', '', 0)")
        columns = "id, repo, origin, description, started, base, root, problems, updated"
        db.execute(f"INSERT INTO revision ({columns}) VALUES ('x', 1, 1, '', 0, 1, 1, '[]', 0)")
        db.execute("INSERT INTO page VALUES (2, x'00', 0)")
    store.sweep(lambda: False)
    with store.database.read() as db:
        assert db.execute("SELECT count(*) FROM page").fetchone()[0] == 2
