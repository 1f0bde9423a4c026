"""Streams: idle timeouts, cancelling, the token, retries, closing under a running call."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from fake_cluster import FakeServer, refusing, serving
from google.protobuf.wrappers_pb2 import BytesValue

from pachmount.errors import (
    BusyError,
    ClusterError,
    ClusterTimeoutError,
    ClusterUnreachableError,
    DataError,
    LoginRequiredError,
    NotFoundError,
    NotPermittedError,
)
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import AuthState, CommitRef, FileEntry, Identity, OidcLogin, RepoRef
from pachmount.pfs.proto import auth_pb2, pfs_pb2

REPO = RepoRef("p", "r")
COMMIT = CommitRef(REPO, "c" * 32)
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def piece(content: bytes) -> bytes:
    return BytesValue(value=content).SerializeToString()


def entry(path: str, size: int = 0) -> bytes:
    kind = pfs_pb2.FileType.DIR if path.endswith("/") else pfs_pb2.FileType.FILE
    return pfs_pb2.FileInfo(file=pfs_pb2.File(path=path), file_type=kind, size_bytes=size).SerializeToString()


class Held:
    """A stream that sends one piece and then holds on until it is released or cancelled."""

    def __init__(self, first: bytes = b"\x0a\x05first") -> None:
        self.first = first
        self.release = threading.Event()
        self.cancelled = threading.Event()

    def __call__(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(self.cancelled.set)
        context.add_callback(self.release.set)
        yield self.first
        self.release.wait(30)
        yield piece(b"second")


class TestIdleTimeout:
    def test_a_silent_stream(self, client: PfsClient, fake: FakeServer) -> None:
        held = Held()
        fake.stream("GetFile", held)
        stream = client.open(COMMIT, "/x", idle_timeout=0.2)
        assert bytes(next(stream)) == b"first"
        with pytest.raises(ClusterTimeoutError, match=r"nothing came for 0\.2 s"):
            next(stream)
        assert held.cancelled.wait(10)

    def test_a_slow_reader_is_not_a_silent_stream(self, client: PfsClient, fake: FakeServer) -> None:
        held = Held()
        fake.stream("GetFile", held)
        stream = client.open(COMMIT, "/x", idle_timeout=0.1)
        assert bytes(next(stream)) == b"first"
        assert not held.cancelled.wait(0.4), "the reader takes its time between pieces"
        held.release.set()
        assert [bytes(content) for content in stream] == [b"second"]

    def test_a_listing(self, socket_path: Path, fake: FakeServer) -> None:
        fake.stream("WalkFile", Held(entry("/")))
        with PfsClient(f"unix://{socket_path}", call_timeout=0.2) as client, pytest.raises(ClusterTimeoutError):
            list(client.walk(COMMIT))

    def test_a_unary_call(self, socket_path: Path, fake: FakeServer) -> None:
        done = threading.Event()
        fake.unary("InspectRepo", lambda request, context: done.wait(10) and b"")
        with PfsClient(f"unix://{socket_path}", call_timeout=0.2) as client, pytest.raises(ClusterTimeoutError):
            client.inspect_repo(REPO)
        done.set()


class TestCancel:
    def test_from_another_thread(self, client: PfsClient, fake: FakeServer) -> None:
        held = Held()
        fake.stream("GetFile", held)
        stream = client.open(COMMIT, "/x")
        assert bytes(next(stream)) == b"first"
        rest: list[memoryview] = []
        reader = threading.Thread(target=lambda: rest.extend(stream))
        reader.start()
        while getattr(stream, "waiting_since", held) is None:  # until the reader is blocked, where that can be seen
            pass
        start = time.monotonic()
        stream.cancel()
        reader.join(5)
        assert not reader.is_alive()
        assert time.monotonic() - start < 1
        assert rest == []
        assert held.cancelled.wait(10)

    def test_before_and_after(self, client: PfsClient, fake: FakeServer) -> None:
        fake.stream("GetFile", lambda request, context: iter([piece(b"x")]))
        stream = client.open(COMMIT, "/x")
        stream.cancel()
        assert list(stream) == []
        stream = client.open(COMMIT, "/x")
        assert [bytes(content) for content in stream] == [b"x"]
        stream.cancel()
        assert list(stream) == []

    def test_a_forgotten_stream(self, client: PfsClient, fake: FakeServer) -> None:
        held = Held()
        fake.stream("GetFile", held)
        stream = client.open(COMMIT, "/x")
        next(stream)
        del stream
        gc.collect()
        assert held.cancelled.wait(10)

    def test_an_abandoned_listing(self, client: PfsClient, fake: FakeServer) -> None:
        cancelled = threading.Event()

        def endless(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            context.add_callback(cancelled.set)
            while True:
                yield entry("/x")

        fake.stream("ListFile", endless)
        listing = client.list(COMMIT)
        assert next(listing).path == "/x"
        listing.close()  # type: ignore[attr-defined]
        assert cancelled.wait(10)

    def test_closing_the_client(self, client: PfsClient, fake: FakeServer) -> None:
        fake.stream("GetFile", Held())
        stream = client.open(COMMIT, "/x")
        next(stream)
        threading.Timer(0.1, client.close).start()
        with pytest.raises(ClusterUnreachableError):
            next(stream)
        with pytest.raises(ClusterUnreachableError, match="closed"):
            client.inspect_repo(REPO)


class TestListings:
    def test_a_damaged_message(self, client: PfsClient, fake: FakeServer) -> None:
        fake.stream("WalkFile", lambda request, context: iter([b"\x0a"]))
        with pytest.raises(DataError):
            list(client.walk(COMMIT))

    def test_walk(self, client: PfsClient, fake: FakeServer) -> None:
        fake.stream("WalkFile", lambda request, context: iter([entry("/", 3), entry("/a/", 3), entry("/a/b", 3)]))
        assert list(client.walk(COMMIT)) == [FileEntry("/a", True, 3, b""), FileEntry("/a/b", False, 3, b"")]

    def test_a_missing_path_is_empty(self, client: PfsClient, fake: FakeServer) -> None:
        fake.stream("WalkFile", refusing(grpc.StatusCode.NOT_FOUND, "file /x not found in repo p/r at commit c"))
        assert list(client.walk(COMMIT, "/x")) == []

    def test_a_missing_commit_is_not(self, client: PfsClient, fake: FakeServer) -> None:
        fake.stream("WalkFile", refusing(grpc.StatusCode.NOT_FOUND, "commit p/r@c not found"))
        with pytest.raises(NotFoundError):
            list(client.walk(COMMIT, "/x"))

    @pytest.mark.parametrize("inclusive", [True, False])
    def test_pages(self, client: PfsClient, fake: FakeServer, inclusive: bool) -> None:
        paths = ["/a/", "/b", "/c/", "/d"]

        def page(data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            request = pfs_pb2.ListFileRequest.FromString(data)
            marker = request.paginationMarker.path
            start = paths.index(marker) + (not inclusive) if marker else 0
            return iter([entry(path) for path in paths[start:][: request.number]])

        fake.stream("ListFile", page)
        found: list[FileEntry] = []
        for _ in range(3):
            found += client.list_page(COMMIT, "", found[-1] if found else None, 2)
        assert [(file.path, file.is_dir) for file in found] == [
            ("/a", True),
            ("/b", False),
            ("/c", True),
            ("/d", False),
        ]


class TestRetries:
    def failing(self, times: int, text: str = "try again") -> Any:
        left = [times]

        def behaviour(request: bytes, context: grpc.ServicerContext) -> bytes:
            if left[0]:
                left[0] -= 1
                context.abort(UNAVAILABLE, text)
            return b""

        return behaviour

    def test_a_transient_failure(self, client: PfsClient, fake: FakeServer) -> None:
        fake.unary("InspectRepo", self.failing(2))
        client.inspect_repo(REPO)
        assert fake.calls == ["InspectRepo"] * 3

    def test_it_ends(self, socket_path: Path, fake: FakeServer) -> None:
        fake.unary("InspectRepo", self.failing(1000))
        with PfsClient(f"unix://{socket_path}", retry_for=0.3) as client, pytest.raises(ClusterUnreachableError):
            client.inspect_repo(REPO)
        assert 1 < len(fake.calls) < 10

    def test_not_when_waiting_does_not_help(self, client: PfsClient, fake: FakeServer) -> None:
        fake.unary("InspectCommit", self.failing(1, "commit p/r@c not finished"))
        with pytest.raises(BusyError):
            client.inspect_commit(COMMIT)
        assert len(fake.calls) == 1

    def test_not_for_calls_that_change_something(self, client: PfsClient, fake: FakeServer) -> None:
        fake.unary("StartCommit", self.failing(1))
        with pytest.raises(ClusterUnreachableError):
            client.start_commit(REPO)
        assert len(fake.calls) == 1

    def test_listings_only_before_the_first_entry(self, client: PfsClient, fake: FakeServer) -> None:
        counts = {"WalkFile": 0}

        def walk(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            counts["WalkFile"] += 1
            if counts["WalkFile"] > 1:
                yield entry("/")
                yield entry("/a")
            context.abort(UNAVAILABLE, "try again")

        fake.stream("WalkFile", walk)
        listing = client.walk(COMMIT)
        assert next(listing).path == "/a"
        with pytest.raises(ClusterUnreachableError):
            next(listing)
        assert counts["WalkFile"] == 2

    def test_a_server_that_comes_back(self, socket_path: Path) -> None:
        server = FakeServer()
        server.unary("InspectRepo", lambda request, context: b"")
        with PfsClient(f"unix://{socket_path}", retry_for=0.0) as client:
            with serving(server, f"unix:{socket_path}"):
                client.inspect_repo(REPO)
            with pytest.raises(ClusterUnreachableError):
                client.inspect_repo(REPO)
            with serving(server, f"unix:{socket_path}"):
                patient = PfsClient(f"unix://{socket_path}")
                with patient:
                    patient.inspect_repo(REPO)
                start = time.monotonic()
                while True:
                    try:
                        client.inspect_repo(REPO)
                        break
                    except ClusterUnreachableError:
                        assert time.monotonic() - start < 5
                assert time.monotonic() - start < 2


class TestToken:
    def tokens(self, fake: FakeServer) -> list[list[str]]:
        return [[value for key, value in call if key == "authn-token"] for call in fake.metadata]

    def test_exactly_one(self, socket_path: Path, fake: FakeServer) -> None:
        fake.unary("InspectRepo", lambda request, context: b"")
        fake.stream("WalkFile", lambda request, context: iter([entry("/")]))
        fake.upload("ModifyFile", lambda requests, context: [*requests] and b"")
        with PfsClient(f"unix://{socket_path}", token="secret") as client:
            client.inspect_repo(REPO)
            list(client.walk(COMMIT))
            with client.modify_file(COMMIT):
                pass
            client.set_token("other")
            client.inspect_repo(REPO)
            client.set_token("")
            client.inspect_repo(REPO)
            assert "secret" not in repr(client) + str(vars(client))
        assert self.tokens(fake) == [["secret"], ["secret"], ["secret"], ["other"], []]


class TestIdentity:
    @pytest.mark.parametrize(
        ("code", "text", "state"),
        [
            (grpc.StatusCode.UNIMPLEMENTED, "the auth service is not activated", AuthState.OFF),
            (grpc.StatusCode.UNAUTHENTICATED, "no authentication token (try logging in)", AuthState.LOGGED_OUT),
            (grpc.StatusCode.UNAUTHENTICATED, "provided auth token is corrupted or has expired", AuthState.LOGGED_OUT),
            (grpc.StatusCode.INTERNAL, "token expiration is in the past", AuthState.LOGGED_OUT),
        ],
    )
    def test_not_logged_in(
        self, client: PfsClient, fake: FakeServer, code: grpc.StatusCode, text: str, state: AuthState
    ) -> None:
        fake.unary("WhoAmI", refusing(code, text))
        assert client.identity() == Identity(state)

    def test_logged_in(self, client: PfsClient, fake: FakeServer) -> None:
        fake.unary("WhoAmI", lambda r, c: auth_pb2.WhoAmIResponse(username="user:a@b").SerializeToString())
        assert client.identity() == Identity(AuthState.LOGGED_IN, "user:a@b")

    def test_other_failures_are_failures(self, client: PfsClient, fake: FakeServer) -> None:
        fake.unary("WhoAmI", refusing(grpc.StatusCode.UNIMPLEMENTED, "not here"))
        with pytest.raises(ClusterError):
            client.identity()


def test_login(client: PfsClient, fake: FakeServer) -> None:
    answer = auth_pb2.GetOIDCLoginResponse(login_url="https://x", state="s")
    fake.unary("GetOIDCLogin", lambda request, context: answer.SerializeToString())
    assert client.start_oidc_login() == OidcLogin("https://x", "s")

    def authenticate(data: bytes, context: grpc.ServicerContext) -> bytes:
        request = auth_pb2.AuthenticateRequest.FromString(data)
        return auth_pb2.AuthenticateResponse(pach_token=request.oidc_state + request.id_token).SerializeToString()

    fake.unary("Authenticate", authenticate)
    assert client.authenticate(oidc_state="s") == "s"
    assert client.authenticate(id_token="t") == "t"


def test_a_repo_that_was_silently_not_deleted(client: PfsClient, fake: FakeServer) -> None:
    fake.unary("DeleteRepo", lambda request, context: b"")
    fake.unary("InspectRepo", lambda request, context: b"")
    with pytest.raises(NotPermittedError):
        client.delete_repo(REPO)
    fake.unary("InspectRepo", refusing(grpc.StatusCode.NOT_FOUND, "repo p/r not found"))
    client.delete_repo(REPO)


def test_login_required(client: PfsClient, fake: FakeServer) -> None:
    fake.stream("GetFile", refusing(grpc.StatusCode.UNAUTHENTICATED, "no authentication token"))
    with pytest.raises(LoginRequiredError):
        list(client.open(COMMIT, "/x"))


def test_requests_are_complete(client: PfsClient, fake: FakeServer) -> None:
    seen: list[bytes] = []
    fake.stream("GetFile", lambda request, context: seen.append(request) or iter([]))
    assert list(client.open(COMMIT, r"/a\b", -5)) == []
    request = pfs_pb2.GetFileRequest.FromString(seen[0])
    assert (request.offset, request.file.path) == (0, r"/a[\\]b")
    repo = request.file.commit.repo
    assert (repo.name, repo.type, repo.project.name) == ("r", "user", "p")
