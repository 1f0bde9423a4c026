"""Many calls at once: writers that do not lose each other's changes, streams that break off, calls that wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from pachmount.localpfs.service_commits import MAX_WAITING
from pachmount.pfs.proto import pfs_pb2
from tests.localpfs.servers import Server, add, modify, on_branch, read, repo, running, start, walk

_BRANCH = "master"


def _started(server: Server, name: str) -> pfs_pb2.Commit:
    branch = pfs_pb2.Branch(name=_BRANCH, repo=repo(name))
    commit: pfs_pb2.Commit = server.pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=branch))
    return commit


def test_writers_into_one_open_commit(server: Server, new_repo: str) -> None:
    commit = _started(server, new_repo)

    def write(number: int) -> None:
        for step in range(10):
            modify(server, commit, add(f"/w{number}/{step}", b"x"), add("/all", b"%d" % number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    files = [info for info in walk(server, commit) if info.file_type == pfs_pb2.FILE]
    assert len(files) == 81
    assert sorted(read(server, commit, "/all")) == sorted(b"0123456789"[:8] * 10)


def test_writers_to_one_branch_make_a_line_of_commits(server: Server, new_repo: str) -> None:
    def write(number: int) -> None:
        modify(server, on_branch(new_repo), add(f"/{number}", b"x"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    to_head = pfs_pb2.ListCommitRequest(repo=repo(new_repo), to=on_branch(new_repo))
    assert len(list(server.pfs.ListCommit(to_head))) == 40
    assert len(walk(server, on_branch(new_repo))) == 41


def test_readers_go_on_while_a_writer_streams(server: Server, new_repo: str) -> None:
    modify(server, on_branch(new_repo), add("/a", b"1"))
    go_on = threading.Event()

    def slowly() -> Iterator[pfs_pb2.ModifyFileRequest]:
        yield pfs_pb2.ModifyFileRequest(set_commit=on_branch(new_repo))
        yield add("/b", b"2")
        go_on.wait(30)

    call = server.pfs.ModifyFile.future(slowly())
    assert read(server, on_branch(new_repo), "/a") == b"1"
    modify(server, on_branch(new_repo), add("/c", b"3"))  # nor does it stand in the way of other writers
    assert [info.file.path for info in walk(server, on_branch(new_repo))] == ["/", "/a", "/c"]
    go_on.set()
    call.result(30)
    assert [info.file.path for info in walk(server, on_branch(new_repo))] == ["/", "/a", "/b", "/c"]


def test_a_stream_that_breaks_off_changes_nothing(server: Server, new_repo: str) -> None:
    modify(server, on_branch(new_repo), add("/a", b"1"))
    sent = threading.Event()

    def endless() -> Iterator[pfs_pb2.ModifyFileRequest]:
        yield pfs_pb2.ModifyFileRequest(set_commit=on_branch(new_repo))
        for number in range(100):
            yield add(f"/lost{number}", b"x")
        sent.set()
        threading.Event().wait(2)

    call = server.pfs.ModifyFile.future(endless())
    assert sent.wait(30)
    call.cancel()
    modify(server, on_branch(new_repo), add("/b", b"2"))
    assert [info.file.path for info in walk(server, on_branch(new_repo))] == ["/", "/a", "/b"]
    assert len(list(server.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=repo(new_repo))))) == 2


def test_waiting_calls_do_not_starve_others(server: Server, new_repo: str) -> None:
    commit = _started(server, new_repo)
    wait = pfs_pb2.InspectCommitRequest(commit=commit, wait=pfs_pb2.FINISHED)
    waiting = [server.pfs.InspectCommit.future(wait) for _ in range(MAX_WAITING + 20)]
    modify(server, commit, add("/a", b"1"))
    assert read(server, commit, "/a") == b"1"
    server.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=commit))
    answered = 0
    for call in waiting:
        error = call.exception(30)
        if error is None:
            assert call.result().HasField("finished")
            answered += 1
        else:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert answered == MAX_WAITING


def test_cancelled_waits_give_their_places_back(server: Server, new_repo: str) -> None:
    commit = _started(server, new_repo)
    wait = pfs_pb2.InspectCommitRequest(commit=commit, wait=pfs_pb2.FINISHED)
    for _ in range(3):
        calls = [server.pfs.InspectCommit.future(wait) for _ in range(MAX_WAITING)]
        modify(server, commit, add("/a", b"1"))
        for call in calls:
            call.cancel()
    last = server.pfs.InspectCommit.future(wait)
    server.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=commit))
    error = last.exception(30)
    assert error is None or error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert server.pfs.InspectCommit(wait).HasField("finished")


def test_a_subscription_sees_commits_as_they_come(server: Server, new_repo: str) -> None:
    request = pfs_pb2.SubscribeCommitRequest(repo=repo(new_repo), branch=_BRANCH, state=pfs_pb2.FINISHED)
    call = server.pfs.SubscribeCommit(request)
    for number in range(5):
        modify(server, on_branch(new_repo), add(f"/{number}", b"x"))
        assert next(call).details.size_bytes == number + 1
    call.cancel()


def test_stopping_ends_calls_that_wait(tmp_path: Path) -> None:
    server = start(tmp_path / "store", f"unix://{tmp_path}/s")
    server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("r")))
    commit = _started(server, "r")
    wait = pfs_pb2.InspectCommitRequest(commit=commit, wait=pfs_pb2.FINISHED)
    waiting = server.pfs.InspectCommit.future(wait)
    subscription = server.pfs.SubscribeCommit(pfs_pb2.SubscribeCommitRequest(repo=repo("r"), branch=_BRANCH))
    assert next(subscription).commit.id == commit.id
    server.process.terminate()
    assert server.process.wait(10) == 0
    assert waiting.exception(10) is not None
    server.channel.close()


@pytest.mark.parametrize("listen", ["unix", "tcp"])
def test_a_page_at_a_time_gives_the_whole_listing(tmp_path: Path, listen: str) -> None:
    address = f"unix://{tmp_path}/s" if listen == "unix" else "127.0.0.1:0"
    with running(tmp_path / "store", address) as server:
        server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("r")))
        names = [f"/d{number % 7}/{'s/' if number % 3 else ''}f{number:04}" for number in range(1500)]
        modify(server, on_branch("r"), *(add(name, b"x") for name in names))
        for method, request_type in (
            (server.pfs.WalkFile, pfs_pb2.WalkFileRequest),
            (server.pfs.ListFile, pfs_pb2.ListFileRequest),
        ):
            file = pfs_pb2.File(commit=on_branch("r"), path="/d3" if method is server.pfs.ListFile else "/")
            whole = [info.file.path for info in method(request_type(file=file))]
            paged: list[str] = []
            while True:
                marker = pfs_pb2.File(commit=on_branch("r"), path=paged[-1]) if paged else None
                page = list(method(request_type(file=file, number=97, paginationMarker=marker)))
                paged += [info.file.path for info in page]
                if len(page) < 97:
                    break
            assert paged == whole
