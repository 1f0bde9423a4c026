"""A server that is killed at any moment shows whole streams and whole commits after the restart, and nothing else."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc

from pachmount.localpfs.store import Store
from pachmount.pfs.proto import pfs_pb2
from tests.localpfs.replay import fill
from tests.localpfs.servers import Server, add, delete, modify, on_branch, read, repo, running, start, walk

_ROUNDS = 20
_FILES = 12


def _writer(server: Server, number: int, done: list[int], progress: threading.Event) -> None:
    """Rewrites all files again and again, each time with another number in every one of them."""
    try:
        while True:
            number += 1
            changes = []
            for file in range(_FILES):
                path = f"/d{file % 3}/f{file}"
                changes += [delete(path), add(path, b"%d:" % number + bytes([file]) * (file * 40_000))]
            changes.append(add(f"/new/{number}", b"%d" % number))
            modify(server, on_branch("r"), *changes)
            done.append(number)
            if len(done) >= 2:
                progress.set()
    except grpc.RpcError:
        progress.set()


def _state(server: Server) -> int:
    """The number of the write that the newest commit shows, which must be complete; 0 for none."""
    if not list(server.pfs.ListBranch(pfs_pb2.ListBranchRequest(repo=repo("r")))):
        return 0
    infos = walk(server, on_branch("r"))
    files = [info for info in infos if info.file_type == pfs_pb2.FILE]
    numbers = [int(read(server, on_branch("r"), info.file.path).partition(b":")[0]) for info in files]
    rewritten = [n for n, info in zip(numbers, files, strict=True) if not info.file.path.startswith("/new/")]
    assert len(rewritten) == _FILES
    assert len(set(rewritten)) == 1
    for info in files:
        content = read(server, on_branch("r"), info.file.path)
        assert len(content) == info.size_bytes
        if not info.file.path.startswith("/new/"):
            file = int(info.file.path.rpartition("f")[2])
            assert content.partition(b":")[2] == bytes([file]) * (file * 40_000)
    added = sorted(n for n, info in zip(numbers, files, strict=True) if info.file.path.startswith("/new/"))
    assert added[-1] == rewritten[0]
    return rewritten[0]


def test_killed_at_random_moments(tmp_path: Path) -> None:
    chance = random.Random(3)
    written = 0
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("r")))
    for _ in range(_ROUNDS):
        server = start(tmp_path / "store", f"unix://{tmp_path}/s")
        shown = _state(server)
        assert shown >= written, "a write that was answered is lost"
        commits = list(server.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=repo("r"))))
        assert all(info.HasField("finished") for info in commits), "half of a one-off commit"
        done: list[int] = []
        progress = threading.Event()
        thread = threading.Thread(target=_writer, args=(server, shown, done, progress))
        thread.start()
        assert progress.wait(30)
        threading.Event().wait(chance.random() * 0.06)
        server.kill()
        thread.join(30)
        server.channel.close()
        written = done[-1] if done else shown
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        assert _state(server) >= written


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


def test_leftovers_of_a_killed_stream_are_removed(tmp_path: Path) -> None:
    server = start(tmp_path / "store", f"unix://{tmp_path}/s")
    server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("r")))
    modify(server, on_branch("r"), add("/kept", b"k" * 1000))
    packs = tmp_path / "store" / "packs"
    before = sum(path.stat().st_size for path in packs.iterdir())
    taken = threading.Event()

    def endless() -> Iterator[pfs_pb2.ModifyFileRequest]:
        yield pfs_pb2.ModifyFileRequest(set_commit=on_branch("r"))
        for number in range(1000):
            if sum(path.stat().st_size for path in packs.iterdir()) > before + 10_000_000:
                taken.set()
                threading.Event().wait(0.01)
            yield add(f"/lost{number}", bytes([number % 256]) * 1_000_000)

    call = server.pfs.ModifyFile.future(endless())
    assert taken.wait(30)
    server.kill()
    assert call.exception(30) is not None
    server.channel.close()
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        assert sum(path.stat().st_size for path in packs.iterdir()) == before
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
    assert pages <= 5


def test_pages_that_an_open_commit_left_behind_are_swept(tmp_path: Path) -> None:
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("r")))
        branch = pfs_pb2.Branch(name="master", repo=repo("r"))
        commit = server.pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=branch))
        for number in range(2100):
            modify(server, commit, add(f"/{number}"))
    store = Store(tmp_path / "store")
    with store.database.read() as db:
        pages = db.execute("SELECT count(*) FROM page").fetchone()[0]
    store.close()
    assert pages < 100
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        assert len(walk(server, commit)) == 2101
