"""FileWriter: complete requests, bounded memory, all or nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from fake_cluster import FakeServer

from pachmount.errors import ClusterTimeoutError, InvalidPathError, PachmountError, StorageFullError
from pachmount.pfs import writer
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, RepoRef
from pachmount.pfs.proto import pfs_pb2

REPO = RepoRef("p", "r")
BRANCH = CommitRef(REPO, "", "master")


class Store:
    """Applies ModifyFile streams that end properly."""

    def __init__(self) -> None:
        self.applied: list[list[pfs_pb2.ModifyFileRequest]] = []
        self.started = threading.Event()
        self.gone = threading.Event()

    def __call__(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        context.add_callback(self.gone.set)
        self.started.set()
        received = [pfs_pb2.ModifyFileRequest.FromString(request) for request in requests]
        # grpcio ends the iteration of a cancelled stream like that of a complete one, and says which a moment later.
        if not self.gone.wait(0.2):
            self.applied.append(received)
        return b""


@pytest.fixture
def store(fake: FakeServer) -> Store:
    store = Store()
    fake.upload("ModifyFile", store)
    return store


def test_one_stream(client: PfsClient, store: Store) -> None:
    with client.modify_file(CommitRef(REPO, "c", "dev")) as change:
        change.delete_file("/a")
        assert change.add_file("/a", b"text") == 4
        assert change.add_file("/empty") == 0
        assert change.add_file("/pieces", iter([b"ab", memoryview(b"cd"), b""])) == 4
    (requests,) = store.applied
    commit = requests[0].set_commit
    assert (commit.id, commit.repo.type, commit.branch.name, commit.branch.repo) == ("c", "user", "dev", commit.repo)
    assert [request.WhichOneof("body") for request in requests[1:]] == ["delete_file"] + ["add_file"] * 4
    assert [request.add_file.path for request in requests[2:]] == ["/a", "/empty", "/pieces", "/pieces"]
    assert b"".join(request.add_file.raw.value for request in requests[4:]) == b"abcd"
    assert requests[3].add_file.WhichOneof("source") == "raw"


def test_to_a_branch(client: PfsClient, store: Store) -> None:
    with client.modify_file(BRANCH):
        pass
    commit = store.applied[0][0].set_commit
    assert (commit.id, commit.branch.name) == ("", "master")


def test_big_content_is_cut(client: PfsClient, store: Store) -> None:
    content = bytes(range(256)) * 4096 * 3 + b"end"
    with client.modify_file(BRANCH) as change:
        assert change.add_file("/big", memoryview(content)) == len(content)
    pieces = [request.add_file.raw.value for request in store.applied[0][1:]]
    assert max(map(len, pieces)) == writer.CHUNK_BYTES
    assert b"".join(pieces) == content


def test_an_exception_applies_nothing(client: PfsClient, store: Store) -> None:
    def interrupted() -> None:
        with client.modify_file(BRANCH) as change:
            change.add_file("/a", b"text")
            assert store.started.wait(10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert store.gone.wait(10)
    assert store.applied == []


def test_a_bad_name_is_refused_here(client: PfsClient, store: Store) -> None:
    def misnamed() -> None:
        with client.modify_file(BRANCH) as change:
            assert store.started.wait(10)
            change.add_file("/a+b", b"text")

    with pytest.raises(InvalidPathError):
        misnamed()
    assert store.gone.wait(10)
    assert store.applied == []


def refusing_after(count: int, text: str) -> Any:
    def behaviour(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        for _ in range(count):
            next(requests)
        context.abort(grpc.StatusCode.UNKNOWN, text)
        raise AssertionError

    return behaviour


def test_a_refusal_shows_while_writing(client: PfsClient, fake: FakeServer) -> None:
    fake.upload("ModifyFile", refusing_after(2, "no space left on device"))
    with pytest.raises(StorageFullError), client.modify_file(BRANCH) as change:
        change.add_file("/a", iter(lambda: bytes(1 << 20), b""))


def test_a_refusal_shows_at_the_end(client: PfsClient, fake: FakeServer) -> None:
    fake.upload("ModifyFile", refusing_after(1, "no space left on device"))
    change = client.modify_file(BRANCH)
    with pytest.raises(StorageFullError):
        change.close()
    with pytest.raises(PachmountError):
        change.add_file("/late", b"")


def test_memory_is_bounded(client: PfsClient, fake: FakeServer) -> None:
    taken = threading.Semaphore(0)

    def slow(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        taken.acquire()
        assert sum(1 for _ in requests) > 1
        return b""

    fake.upload("ModifyFile", slow)
    with client.modify_file(BRANCH) as change:
        sent = threading.Event()

        def send() -> None:
            change.add_file("/a", bytes(64 << 20))
            sent.set()

        sender = threading.Thread(target=send)
        sender.start()
        assert not sent.wait(0.5), "a server that takes nothing must stop the writer"
        assert change._waiting_bytes <= 5 << 20
        taken.release()
        sender.join(30)
        assert sent.is_set()


def test_a_server_that_stops_taking(client: PfsClient, fake: FakeServer) -> None:
    done = threading.Event()
    fake.upload("ModifyFile", lambda requests, context: done.wait(20) and b"")
    with (
        pytest.raises(ClusterTimeoutError, match="stopped taking data"),
        client.modify_file(BRANCH, stall_timeout=0.2) as change,
    ):
        change.add_file("/a", bytes(64 << 20))
    done.set()


def test_an_answer_that_does_not_come(client: PfsClient, fake: FakeServer) -> None:
    done = threading.Event()
    fake.upload("ModifyFile", lambda requests, context: done.wait(20) and b"")
    with pytest.raises(ClusterTimeoutError, match="not confirmed"), client.modify_file(BRANCH, finish_timeout=0.2):
        pass
    done.set()


def test_many_small_files(client: PfsClient, store: Store, tmp_path: Path) -> None:
    with client.modify_file(BRANCH) as change:
        for number in range(5000):
            change.add_file(f"/f{number}", b"x")
    assert len(store.applied[0]) == 5001
