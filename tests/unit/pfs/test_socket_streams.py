"""HTTP/2 of our own against a peer that sends frames one by one: all that is allowed, and much that is not."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import hpack
import pytest
from http2_peer import (
    ACK,
    COMMIT,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    Peer,
    frame,
    message,
    read,
)

from pachmount.errors import (
    ClusterError,
    ClusterTimeoutError,
    ClusterUnreachableError,
    DataError,
    LoginRequiredError,
    NotFoundError,
    PachmountError,
)
from pachmount.pfs.client import PfsClient
from pachmount.pfs.proto import pfs_pb2


@pytest.fixture
def client(peer: Peer) -> Iterator[PfsClient]:
    with PfsClient(f"grpc://127.0.0.1:{peer.port}", call_timeout=5.0, retry_for=0) as client:
        yield client


def test_a_plain_answer_and_what_was_asked(peer: Peer, client: PfsClient) -> None:
    client.set_token("secret")
    peer.script = lambda peer: peer.answer(b"one", b"", b"two" * 100_000)
    assert read(client) == b"one" + b"two" * 100_000
    _, _, block = next(found for found in peer.received if found[0] == HEADERS)
    asked = dict(hpack.Decoder().decode(block))
    assert asked[":path"] == "/pfs_v2.API/GetFile"
    assert (asked[":method"], asked["te"], asked["content-type"]) == ("POST", "trailers", "application/grpc")
    assert asked["authn-token"] == "secret"


def test_a_message_cut_anywhere(peer: Peer, client: PfsClient) -> None:
    content = bytes(range(256)) * 3
    whole = message(content) + message(b"end")

    def script(peer: Peer) -> None:
        peer.begin()
        for byte in whole:
            peer.send(frame(DATA, 0, peer.stream, bytes([byte])))
        peer.end()

    peer.script = script
    assert read(client) == content + b"end"


def test_padding_continuation_priority_pings_settings_and_unknown_frames(peer: Peer, client: PfsClient) -> None:
    def script(peer: Peer) -> None:
        block = peer.encoder.encode([(":status", "200"), ("content-type", "application/grpc")])
        padded = bytes([3]) + bytes(5) + block[:2] + bytes(3)
        peer.send(frame(HEADERS, PADDED | PRIORITY, 1, padded), frame(CONTINUATION, END_HEADERS, 1, block[2:]))
        peer.send(frame(DATA, PADDED, 1, bytes([200]) + message(b"first") + bytes(200)), frame(0xBE, 0, 0, b"grease"))
        peer.send(frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 0)), frame(DATA, 0, 1))
        while (PING, ACK, b"12345678") not in peer.received:
            peer.read_frame()
        peer.send(frame(DATA, PADDED, 1, bytes([0]) + message(b"second")))
        peer.end()

    peer.script = script
    assert read(client) == b"firstsecond"


def test_windows_are_opened_as_the_reader_gets_on(peer: Peer, client: PfsClient) -> None:
    content = bytes(1 << 20)

    def script(peer: Peer) -> None:
        peer.begin()
        window, sent = 2 << 20, 0
        while sent < 12:
            while window < len(content) + 100:
                kind, _, payload = peer.read_frame()
                if kind == 8 and len(peer.received) % 2:
                    window += int.from_bytes(payload, "big")
            data = message(content)
            for start in range(0, len(data), 16384):
                peer.send(frame(DATA, 0, 1, data[start : start + 16384]))
            window -= len(data)
            sent += 1
        peer.end()

    peer.script = script
    assert len(read(client)) == 12 << 20


def test_connections_are_used_again(peer: Peer, client: PfsClient) -> None:
    def script(peer: Peer) -> None:
        for number in range(3):
            peer.answer(b"answer %d" % number)
            peer.await_request()
            peer.stream += 2

    peer.script = script
    assert [read(client) for _ in range(3)] == [b"answer 0", b"answer 1", b"answer 2"]
    assert peer.connections == 1


def test_an_idle_connection_that_was_closed_is_replaced(peer: Peer, client: PfsClient) -> None:
    peer.script = lambda peer: peer.answer(b"x")
    assert [read(client) for _ in range(3)] == [b"x"] * 3
    assert peer.connections == 3


def test_a_stream_given_up_leaves_its_connection_to_the_next(peer: Peer, client: PfsClient) -> None:
    first = bytes(range(256)) * 4096

    def script(peer: Peer) -> None:
        peer.begin()
        whole = message(first)
        peer.send(frame(DATA, 0, 1, whole[:500_000]), frame(DATA, 0, 1, whole[500_000:]))
        peer.send(frame(DATA, PADDED, 1, bytes([9]) + message(b"too much") + bytes(9)))
        peer.await_request()
        peer.send(frame(DATA, 0, 1, b"still on its way"))
        peer.end(1)
        peer.stream = 3
        peer.answer(b"second")

    peer.script = script
    stream = client.open(COMMIT, "/f")
    begun = bytearray(len(first))
    assert stream.readinto(memoryview(begun)) == len(first)
    assert begun == first
    stream.cancel()
    assert read(client) == b"second"
    assert peer.connections == 1
    assert (RST_STREAM, 0, struct.pack(">I", 8)) in peer.received


def test_a_server_that_goes_away_ends_the_streams_it_has(peer: Peer, client: PfsClient) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        peer.send(frame(GOAWAY, 0, 0, struct.pack(">II", 1, 0)), frame(DATA, 0, 1, message(b"last")))
        peer.end()

    peer.script = script
    assert read(client) == b"last"
    assert read(client) == b"last"
    assert peer.connections == 2


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ([("grpc-status", "5"), ("grpc-message", "file /f not%20found")], NotFoundError, "file /f not found"),
        ([("grpc-status", "16"), ("grpc-message", "no token")], LoginRequiredError, "no token"),
        ([("grpc-status", "13"), ("grpc-message", "token expiration is in the past")], LoginRequiredError, "token"),
        ([("grpc-status", "14"), ("grpc-message", "try later")], ClusterUnreachableError, "try later"),
        ([("grpc-status", "2"), ("grpc-message", "%C3%BCber")], ClusterError, "über"),
        ([("grpc-status", "99")], ClusterError, "UNKNOWN"),
    ],
)
def test_errors_without_and_after_content(
    peer: Peer, client: PfsClient, fields: list[tuple[str, str]], error: type[PachmountError], text: str
) -> None:
    def at_once(peer: Peer) -> None:
        peer.send(peer.headers([(":status", "200"), ("content-type", "application/grpc"), *fields], 5))

    peer.script = at_once
    with pytest.raises(error, match=text):
        read(client)

    def later(peer: Peer) -> None:
        peer.begin()
        peer.send(frame(DATA, 0, 1, message(b"some")), peer.headers(fields, 5))

    peer.script = later
    stream = client.open(COMMIT, "/f")
    assert bytes(next(stream)) == b"some"
    with pytest.raises(error, match=text):
        next(stream)


@pytest.mark.parametrize("code", [1, 2, 7, 8])
def test_a_reset_stream(peer: Peer, client: PfsClient, code: int) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        peer.send(frame(DATA, 0, 1, message(b"some")), frame(RST_STREAM, 0, 1, struct.pack(">I", code)))

    peer.script = script
    with pytest.raises(PachmountError, match="reset"):
        read(client)


def test_an_answer_cut_off(peer: Peer, client: PfsClient) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        peer.send(frame(DATA, 0, 1, message(b"some")[:-1]))

    peer.script = script
    with pytest.raises(ClusterUnreachableError, match="closed"):
        read(client)


def test_an_answer_that_ends_within_a_message(peer: Peer, client: PfsClient) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        peer.send(frame(DATA, 0, 1, message(b"some")[:-1]))
        peer.end()

    peer.script = script
    with pytest.raises(ClusterUnreachableError, match="middle of a message"):
        read(client)


@pytest.mark.parametrize("data", [b"\1\0\0\0\3\x0a\1x", b"\0\xff\xff\xff\xff", b"\0\0\0\0\3\x12\1x"])
def test_garbage_after_content_is_an_error(peer: Peer, client: PfsClient, data: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        peer.send(frame(DATA, 0, 1, message(b"some")), frame(DATA, 0, 1, data))
        peer.end()

    peer.script = script
    with pytest.raises(DataError, match="cannot be read"):
        read(client)


def file_info(path: str, size: int | None = None) -> bytes:
    kind = pfs_pb2.FileType.DIR if path.endswith("/") else pfs_pb2.FileType.FILE
    size = len(path) if size is None else size
    info = pfs_pb2.FileInfo(file=pfs_pb2.File(path=path), file_type=kind, size_bytes=size)
    data = info.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


PATHS = [f"/dir/{number:03}" for number in range(200)]
LISTED = [file_info("/", 1600), file_info("/dir/", 1600), *map(file_info, PATHS)]


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
@pytest.mark.parametrize("padded", [False, True])
def test_a_listing_in_frames_of_any_size(peer: Peer, client: PfsClient, size: int, padded: bool) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        data = b"".join(LISTED)
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        if padded:
            frames = [frame(DATA, PADDED, peer.stream, b"\3" + piece + bytes(3)) for piece in pieces]
        else:
            frames = [frame(DATA, 0, peer.stream, piece) + frame(DATA, 0, peer.stream) for piece in pieces]
        peer.send(*frames)
        peer.end()

    peer.script = script
    assert [(entry.path, entry.size) for entry in client.walk(COMMIT)] == [
        ("/dir", 1600),
        *((path, 8) for path in PATHS),
    ]


def test_messages_that_came_together_are_one_batch(peer: Peer, client: PfsClient) -> None:
    def script(peer: Peer) -> None:
        peer.begin()
        peer.send(b"".join(frame(DATA, 0, peer.stream, info) for info in LISTED))
        peer.end()

    peer.script = script
    batches = [len(batch) for batch in client.walk_batches(COMMIT)]
    assert sum(batches) == 201
    assert len(batches) < 20


def test_a_listing_of_a_path_that_does_not_exist(peer: Peer, client: PfsClient) -> None:
    peer.script = lambda peer: peer.end(5, "file /x not found in repo default/r at commit %61")
    assert list(client.walk(COMMIT, "/x")) == []


def test_a_damaged_entry(peer: Peer, client: PfsClient) -> None:
    peer.script = lambda peer: (peer.begin(), peer.send(frame(DATA, 0, peer.stream, b"\0\0\0\0\1\x0a")), peer.end())[0]
    with pytest.raises(DataError):
        list(client.walk(COMMIT))


def test_a_listing_whose_connection_ends_before_the_first_entry_is_asked_for_again(peer: Peer) -> None:
    def script(peer: Peer) -> None:
        if peer.connections > 2:
            peer.begin()
            peer.send(frame(DATA, 0, peer.stream, file_info("/", 2) + file_info("/a")))
            peer.end()

    peer.script = script
    with PfsClient(f"grpc://127.0.0.1:{peer.port}", call_timeout=10.0, retry_for=10.0) as patient:
        assert [entry.path for entry in patient.walk(COMMIT)] == ["/a"]
    assert peer.connections == 3


def test_a_listing_that_breaks_off_later_is_an_error(peer: Peer, client: PfsClient) -> None:
    peer.script = lambda peer: (
        peer.begin(),
        peer.send(frame(DATA, 0, peer.stream, file_info("/", 2) + file_info("/a"))),
    )[0]
    listing = client.walk(COMMIT)
    assert next(listing).path == "/a"
    with pytest.raises(ClusterUnreachableError):
        next(listing)
    assert peer.connections == 1


def test_silence(peer: Peer, client: PfsClient) -> None:
    done = threading.Event()

    def script(peer: Peer) -> None:
        peer.begin()
        done.wait(10)

    peer.script = script
    with pytest.raises(ClusterTimeoutError, match=r"nothing came for 0\.2 s"):
        read(client, idle=0.2)
    done.set()


def test_what_does_not_speak_http2_is_left_to_grpcio() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(1000)
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        with PfsClient(f"grpc://127.0.0.1:{listener.getsockname()[1]}", retry_for=0, call_timeout=5) as client:
            with pytest.raises(ClusterUnreachableError) as caught:
                read(client)
            assert "not a Pachyderm cluster" in caught.value.hint
            assert not client._rpc._sockets.usable
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def _get_file(_request: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
    yield b"\x0a\x06secret"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost and its key, in one PEM file."""
    if shutil.which("openssl") is None:
        pytest.fail("openssl is needed (apt install openssl)")
    key, pem = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", pem]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + pem.read_bytes())
    return both


def test_tls(certificate: Path) -> None:
    import base64

    pem = certificate.read_bytes()
    key, chain = pem[: pem.index(b"-----BEGIN CERT")], pem[pem.index(b"-----BEGIN CERT") :]
    server = grpc.server(futures.ThreadPoolExecutor(2))
    method = grpc.unary_stream_rpc_method_handler(_get_file)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("pfs_v2.API", {"GetFile": method}),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    server.start()
    try:
        trusted = base64.b64encode(chain).decode()
        with PfsClient(f"grpcs://localhost:{port}", server_cas=trusted, call_timeout=5) as client:
            assert [read(client) for _ in range(2)] == [b"secret"] * 2
            assert client._rpc._sockets.usable
        with PfsClient(f"grpcs://localhost:{port}", retry_for=0, call_timeout=5) as client:
            with pytest.raises(ClusterUnreachableError) as caught:
                read(client)
            assert "not trusted" in caught.value.why
    finally:
        server.stop(0).wait()


def test_tls_without_http2_is_left_to_grpcio(certificate: Path) -> None:
    import base64

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    peer = Peer(context)
    try:
        pem = certificate.read_bytes()
        trusted = base64.b64encode(pem[pem.index(b"-----BEGIN CERT") :]).decode()
        with PfsClient(f"grpcs://localhost:{peer.port}", server_cas=trusted, retry_for=0, call_timeout=5) as client:
            with pytest.raises(ClusterUnreachableError):
                read(client)
            assert not client._rpc._sockets.usable
    finally:
        peer.close()
