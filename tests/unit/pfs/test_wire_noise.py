"""HTTP/2 of our own against servers and proxies that say more, less or other things than they should (RFC 9113).

Legal noise changes nothing. Illegal frames end the connection with an error at once. Whatever a server goes on sending,
a read without content of its own ends when its time is over.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from http2_peer import (
    ACK,
    COMMIT,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PRIORITY_FRAME,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Peer,
    frame,
    message,
    read,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pachmount.errors import ClusterTimeoutError, PachmountError
from pachmount.pfs.client import PfsClient
from pachmount.pfs.dial import dial

Script = Callable[[Peer], None]
SECONDS = 5.0
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, COMPRESSION_ERROR = 1, 3, 6, 9


@pytest.fixture
def client(peer: Peer) -> Iterator[PfsClient]:
    with PfsClient(f"grpc://127.0.0.1:{peer.port}", call_timeout=SECONDS, retry_for=0) as client:
        yield client


def setting(key: int, value: int) -> bytes:
    return struct.pack(">HI", key, value)


NOISE = st.one_of(
    st.binary(min_size=8, max_size=8).map(lambda data: frame(PING, 0, 0, data)),
    st.binary(min_size=8, max_size=8).map(lambda data: frame(PING, ACK, 0, data)),
    st.sampled_from([0, 1, 100, 1 << 16, (1 << 31) - 1]).map(lambda size: frame(SETTINGS, 0, 0, setting(4, size))),
    st.sampled_from([0, 64, 4096, 1 << 20]).map(lambda size: frame(SETTINGS, 0, 0, setting(1, size))),
    st.sampled_from([1 << 14, (1 << 24) - 1]).map(lambda size: frame(SETTINGS, 0, 0, setting(5, size))),
    st.just(frame(SETTINGS, 0, 0, setting(0xAAAA, 7))),
    st.integers(1, 1 << 16).map(lambda size: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", size))),
    st.integers(1, 1 << 16).map(lambda size: frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", size))),
    st.just(frame(PRIORITY_FRAME, 0, 1, bytes(5))),
    st.just(frame(PRIORITY_FRAME, 0, 9, bytes(5))),
    st.tuples(st.integers(10, 255), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=300)).map(
        lambda it: frame(it[0], it[1], it[2], it[3])
    ),
)
EMPTY = st.one_of(
    st.just(frame(DATA, 0, 1)), st.integers(0, 255).map(lambda n: frame(DATA, PADDED, 1, bytes([n]) + bytes(n)))
)


def data_frames(content: bytes, cuts: list[int], paddings: list[int]) -> list[bytes]:
    """DATA frames with all of the content, cut and padded."""
    edges = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    found = []
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        piece, padding = content[start:end], paddings[number % len(paddings)] if paddings else -1
        plain = frame(DATA, 0, 1, piece)
        found.append(plain if padding < 0 else frame(DATA, PADDED, 1, bytes([padding]) + piece + bytes(padding)))
    return found


def header_frames(block: bytes, flags: int, size: int, padding: int, priority: bool) -> bytes:
    """A block of headers in a HEADERS frame of `size` bytes of it and as many CONTINUATION frames as it takes."""
    pieces = [block[at : at + size] for at in range(0, len(block), size)] or [b""]
    payload = (bytes(5) if priority else b"") + pieces[0]
    if padding >= 0:
        payload = bytes([padding]) + payload + bytes(padding)
    flags |= (PADDED if padding >= 0 else 0) | (PRIORITY if priority else 0)
    if len(pieces) == 1:
        return frame(HEADERS, flags | END_HEADERS, 1, payload)
    rest = [frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:-1]]
    return b"".join([frame(HEADERS, flags, 1, payload), *rest, frame(CONTINUATION, END_HEADERS, 1, pieces[-1])])


@given(
    contents=st.lists(st.binary(max_size=400), max_size=4),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
    paddings=st.lists(st.integers(-1, 255), max_size=3),
    noise=st.lists(st.tuples(st.integers(0, 20), st.one_of(NOISE, NOISE, EMPTY)), max_size=12),
    header_size=st.integers(1, 60),
    header_padding=st.integers(-1, 60),
    has_priority=st.booleans(),
    interim=st.integers(0, 2),
    fragment=st.sampled_from([1, 2, 7, 100, 1 << 20]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_legal_noise_changes_nothing(
    contents: list[bytes],
    cuts: list[int],
    paddings: list[int],
    noise: list[tuple[int, bytes]],
    header_size: int,
    header_padding: int,
    has_priority: bool,
    interim: int,
    fragment: int,
) -> None:
    """The headers and the content in frames of any form, with other frames between, in pieces of any size."""

    def script(peer: Peer) -> None:
        peer.encoder.header_table_size = 0  # so that blocks can be decoded in any order
        answer = peer.encoder.encode([(":status", "200"), ("content-type", "application/grpc")])
        body = data_frames(b"".join(map(message, contents)), cuts, paddings)
        end = peer.encoder.encode([("grpc-status", "0")])
        interims = [frame(HEADERS, END_HEADERS, 1, peer.encoder.encode([(":status", "103")])) for _ in range(interim)]
        for place, extra in noise:
            said = body if extra[3] == DATA or place % 2 else interims
            said.insert(place % (len(said) + 1), extra)
        said = [*interims, header_frames(answer, 0, header_size, header_padding, has_priority), *body]
        said.append(header_frames(end, END_STREAM, header_size, header_padding, has_priority))
        data = b"".join(said)
        for at in range(0, len(data), fragment):
            peer.sock.sendall(data[at : at + fragment])

    peer = Peer()
    peer.script = script
    try:
        with PfsClient(f"grpc://127.0.0.1:{peer.port}", call_timeout=SECONDS, retry_for=0) as client:
            assert read(client) == b"".join(contents)
            assert client._rpc._sockets.usable
    finally:
        peer.close()


def at_first(data: bytes) -> Script:
    return lambda peer: peer.send(data)


def after_headers(data: bytes) -> Script:
    return lambda peer: (peer.begin(), peer.send(data))[0]


def within_headers(data: bytes) -> Script:
    return at_first(frame(HEADERS, 0, 1, b"\x88") + data)


ILLEGAL: dict[str, tuple[Script, int]] = {
    "padded HEADERS without a byte": (at_first(frame(HEADERS, PADDED | END_HEADERS, 1)), FRAME_SIZE_ERROR),
    "padded DATA without a byte": (after_headers(frame(DATA, PADDED, 1)), FRAME_SIZE_ERROR),
    "HEADERS with more padding than bytes": (
        at_first(frame(HEADERS, PADDED | END_HEADERS, 1, b"\5\x88\0\0")),
        PROTOCOL_ERROR,
    ),
    "DATA with more padding than bytes": (after_headers(frame(DATA, PADDED, 1, b"\5abcd")), PROTOCOL_ERROR),
    "padding as long as its frame": (after_headers(frame(DATA, PADDED, 1, b"\1")), PROTOCOL_ERROR),
    "HEADERS too short for a priority": (at_first(frame(HEADERS, 0x20 | END_HEADERS, 1, bytes(3))), FRAME_SIZE_ERROR),
    "CONTINUATION at first": (at_first(frame(CONTINUATION, END_HEADERS, 1, b"\x88")), PROTOCOL_ERROR),
    "CONTINUATION after whole headers": (after_headers(frame(CONTINUATION, END_HEADERS, 1)), PROTOCOL_ERROR),
    "another frame within headers": (within_headers(frame(PING, 0, 0, bytes(8))), PROTOCOL_ERROR),
    "headers that another stream continues": (within_headers(frame(CONTINUATION, END_HEADERS, 3)), PROTOCOL_ERROR),
    "DATA within headers": (within_headers(frame(DATA, 0, 1, b"x")), PROTOCOL_ERROR),
    "headers that cannot be decoded": (at_first(frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff")), COMPRESSION_ERROR),
    "headers in the middle": (after_headers(frame(HEADERS, END_HEADERS, 1, b"\x88")), PROTOCOL_ERROR),
    "interim headers that end it": (
        lambda peer: peer.send(peer.headers([(":status", "100")], END_HEADERS | END_STREAM)),
        PROTOCOL_ERROR,
    ),
    "DATA before headers": (at_first(frame(DATA, 0, 1, message(b"x"))), PROTOCOL_ERROR),
    "DATA of no stream": (after_headers(frame(DATA, 0, 0, b"x")), PROTOCOL_ERROR),
    "DATA of a stream of the server": (after_headers(frame(DATA, 0, 2, b"x")), PROTOCOL_ERROR),
    "DATA of a stream that was never opened": (after_headers(frame(DATA, 0, 3, b"x")), PROTOCOL_ERROR),
    "HEADERS of no stream": (at_first(frame(HEADERS, END_HEADERS, 0, b"\x88")), PROTOCOL_ERROR),
    "HEADERS of a stream that was never opened": (at_first(frame(HEADERS, END_HEADERS, 5, b"\x88")), PROTOCOL_ERROR),
    "a promise to push": (after_headers(frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4) + b"\x88")), PROTOCOL_ERROR),
    "PING of a stream": (after_headers(frame(PING, 0, 1, bytes(8))), PROTOCOL_ERROR),
    "PING of 7 bytes": (after_headers(frame(PING, 0, 0, bytes(7))), FRAME_SIZE_ERROR),
    "SETTINGS of a stream": (after_headers(frame(SETTINGS, 0, 1)), PROTOCOL_ERROR),
    "SETTINGS of 5 bytes": (after_headers(frame(SETTINGS, 0, 0, bytes(5))), FRAME_SIZE_ERROR),
    "SETTINGS acknowledged with content": (after_headers(frame(SETTINGS, ACK, 0, setting(1, 0))), FRAME_SIZE_ERROR),
    "a window of 2 GiB": (after_headers(frame(SETTINGS, 0, 0, setting(4, 1 << 31))), FLOW_CONTROL_ERROR),
    "frames of 100 bytes at most": (after_headers(frame(SETTINGS, 0, 0, setting(5, 100))), PROTOCOL_ERROR),
    "a server that is pushed to": (after_headers(frame(SETTINGS, 0, 0, setting(2, 1))), PROTOCOL_ERROR),
    "WINDOW_UPDATE of 3 bytes": (after_headers(frame(WINDOW_UPDATE, 0, 0, bytes(3))), FRAME_SIZE_ERROR),
    "WINDOW_UPDATE by nothing": (after_headers(frame(WINDOW_UPDATE, 0, 0, bytes(4))), PROTOCOL_ERROR),
    "a window that overflows": (
        after_headers(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 31) - 1))),
        FLOW_CONTROL_ERROR,
    ),
    "WINDOW_UPDATE of a stream that was never opened": (
        after_headers(frame(WINDOW_UPDATE, 0, 7, struct.pack(">I", 1))),
        PROTOCOL_ERROR,
    ),
    "RST_STREAM of no stream": (after_headers(frame(RST_STREAM, 0, 0, bytes(4))), PROTOCOL_ERROR),
    "RST_STREAM of 5 bytes": (after_headers(frame(RST_STREAM, 0, 1, bytes(5))), FRAME_SIZE_ERROR),
    "GOAWAY of a stream": (after_headers(frame(GOAWAY, 0, 1, bytes(8))), PROTOCOL_ERROR),
    "GOAWAY of 4 bytes": (after_headers(frame(GOAWAY, 0, 0, bytes(4))), FRAME_SIZE_ERROR),
    "PRIORITY of 4 bytes": (after_headers(frame(PRIORITY_FRAME, 0, 1, bytes(4))), FRAME_SIZE_ERROR),
    "a frame of 2 MiB": (after_headers((2 << 20).to_bytes(3, "big") + b"\0\0\0\0\0\1"), FRAME_SIZE_ERROR),
    "a long frame of an unknown type": (after_headers((1 << 17).to_bytes(3, "big") + b"\x20" + bytes(5)), 6),
    "more than the window has room for": (
        after_headers(frame(DATA, 0, 1, bytes(1_000_000)) + (200_000).to_bytes(3, "big") + b"\0\0\0\0\0\1"),
        FLOW_CONTROL_ERROR,
    ),
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_what_a_server_may_not_send_ends_the_connection(peer: Peer, client: PfsClient, name: str) -> None:
    """At once, with an error of ours; the server is told why, and the next read has another connection."""
    script, code = ILLEGAL[name]

    def then_listen(peer: Peer) -> None:
        if peer.connections > 1:
            peer.answer(b"fine")
            return
        script(peer)
        with contextlib.suppress(OSError, EOFError):
            while True:
                peer.read_frame()

    peer.script = then_listen
    begun = time.monotonic()
    with pytest.raises(PachmountError):
        read(client, idle=4.0)
    assert time.monotonic() - begun < 3.0, "it waited instead of ending"
    assert read(client) == b"fine"
    last = [payload for kind, _, payload in peer.received if kind == GOAWAY]
    assert [int.from_bytes(payload[4:8], "big") for payload in last] == [code]


FOR_EVER = {
    "PING": lambda n: frame(PING, 0, 0, struct.pack(">Q", n)),
    "SETTINGS": lambda n: frame(SETTINGS, 0, 0, setting(4, 65535 + n)),
    "WINDOW_UPDATE": lambda n: frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1)),
    "empty DATA": lambda n: frame(DATA, 0, 1),
    "DATA of padding only": lambda n: frame(DATA, PADDED, 1, bytes([n % 256]) + bytes(n % 256)),
    "an unknown type": lambda n: frame(0x42, n % 256, n, b"x" * (n % 1000)),
    "PRIORITY": lambda n: frame(PRIORITY_FRAME, 0, 1, bytes(5)),
}


@pytest.mark.parametrize("kind", [*FOR_EVER, "interim headers", "headers that go on and on", "a header byte by byte"])
def test_nothing_but_content_keeps_a_read_waiting(peer: Peer, client: PfsClient, kind: str) -> None:
    """A server sends frames all the time, but no content; the read's time is over after half a second all the same."""

    def script(peer: Peer) -> None:
        if kind == "headers that go on and on":
            peer.send(frame(HEADERS, 0, 1))
        elif kind in FOR_EVER:
            peer.begin()
        for number in range(1000):
            if kind == "interim headers":
                peer.send(peer.headers([(":status", "102")]))
            elif kind == "headers that go on and on":
                peer.send(frame(CONTINUATION, 0, 1))
            elif kind == "a header byte by byte":
                peer.sock.sendall((frame(PING, 0, 0, bytes(8)) * 100)[number : number + 1])
            else:
                peer.send(FOR_EVER[kind](number))
            time.sleep(0.02)  # the server's pace, not a wait for anything

    peer.script = script
    begun = time.monotonic()
    with pytest.raises(ClusterTimeoutError):
        read(client, idle=0.5)
    assert 0.4 < time.monotonic() - begun < 3.0


def test_content_that_comes_slowly_is_waited_for(peer: Peer, client: PfsClient) -> None:
    whole = message(b"slow but sure")

    def script(peer: Peer) -> None:
        peer.begin()
        for byte in whole:
            time.sleep(0.05)  # the server's pace
            peer.send(frame(DATA, 0, 1, bytes([byte])))
        peer.end()

    peer.script = script
    assert read(client, idle=0.6) == b"slow but sure"


@given(st.binary(min_size=1, max_size=200), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_an_error_or_an_answer_in_time(data: bytes, has_begun: bool) -> None:
    peer = Peer()
    peer.script = lambda peer: (peer.begin() if has_begun else None, peer.sock.sendall(data))[0]
    try:
        with PfsClient(f"grpc://127.0.0.1:{peer.port}", call_timeout=1.0, retry_for=0) as client:
            begun = time.monotonic()
            with contextlib.suppress(PachmountError):
                read(client, idle=1.0)
            assert time.monotonic() - begun < 10.0
    finally:
        peer.close()


def test_a_small_window_of_the_server_is_kept_to(peer: Peer, client: PfsClient) -> None:
    """A connection whose windows have no room for a request is not used for it."""
    peer.greeting = frame(SETTINGS, 0, 0, setting(4, 10))
    peer.script = lambda peer: peer.answer(b"x")
    assert [read(client) for _ in range(2)] == [b"x"] * 2
    assert peer.connections == 2
    assert client.open(COMMIT, "/f") is not None


def test_a_name_that_is_not_resolved_takes_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    from pachmount.pfs.address import parse_address

    hold = time.monotonic() + 2.0

    def slow(*args: object, **kwargs: object) -> list[object]:
        time.sleep(max(0.0, hold - time.monotonic()))  # a name server that does not answer
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="not resolved"):
        dial(parse_address("grpc://pachd.example:30650"), 0.2)
    assert time.monotonic() - begun < 1.5
