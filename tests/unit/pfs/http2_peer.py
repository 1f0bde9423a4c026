"""A peer that speaks HTTP/2 to the client frame by frame, as a script tells it to."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable

import hpack

from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, RepoRef

COMMIT = CommitRef(RepoRef("default", "r"), "a" * 32)
DATA, HEADERS, PRIORITY_FRAME, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def message(content: bytes) -> bytes:
    """A BytesValue with gRPC's prefix."""
    length, varint = len(content), b""
    while length >= 0x80:
        varint += bytes([length & 0x7F | 0x80])
        length >>= 7
    value = b"\x0a" + varint + bytes([length]) + content if content else b""
    return b"\0" + len(value).to_bytes(4, "big") + value


class Peer:
    """Accepts connections; `script(peer)` speaks on each, from the first on, once the request has come.

    `greeting` is sent before it, `received` are the frames that came: type, flags, payload.
    """

    greeting = frame(SETTINGS, 0, 0)

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.script: Callable[[Peer], None] = lambda peer: None
        self.connections = 0
        self.received: list[tuple[int, int, bytes]] = []
        self.stream = 1
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def send(self, *frames: bytes) -> None:
        self.sock.sendall(b"".join(frames))

    def headers(self, fields: list[tuple[str, str]], flags: int = END_HEADERS) -> bytes:
        return frame(HEADERS, flags, self.stream, self.encoder.encode(fields))

    def begin(self) -> None:
        self.send(self.headers([(":status", "200"), ("content-type", "application/grpc")]))

    def end(self, status: int = 0, text: str = "") -> None:
        self.send(self.headers([("grpc-status", str(status)), ("grpc-message", text)], END_HEADERS | END_STREAM))

    def answer(self, *contents: bytes) -> None:
        """A plain answer."""
        self.begin()
        for content in contents:
            self.send(frame(DATA, 0, self.stream, message(content)))
        self.end()

    def read_frame(self) -> tuple[int, int, bytes]:
        """The next frame from the client: type, flags, payload."""
        head = self._read(9)
        found = head[3], head[4], self._read(int.from_bytes(head[:3], "big"))
        self.received.append(found)
        return found

    def await_request(self) -> None:
        while True:
            kind, flags, _ = self.read_frame()
            if kind == DATA and flags & END_STREAM:
                return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                self.sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self.stream, self.encoder = 1, hpack.Encoder()
            try:
                with contextlib.suppress(OSError, EOFError):
                    self._converse()
            finally:
                self.sock.close()

    def _converse(self) -> None:
        self.sock.settimeout(10)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_side=True)
        self._read(24)
        self.send(self.greeting)
        self.await_request()
        self.script(self)
        self._hang_up()

    def _hang_up(self) -> None:
        """Close without a reset, which would destroy what is still on its way: read what the client has sent first."""
        self.sock.settimeout(0.2)
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
            while self.sock.recv(65536):
                pass
        self.sock.close()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data


def read(client: PfsClient, idle: float = 5.0) -> bytes:
    return b"".join(client.open(COMMIT, "/f", idle_timeout=idle))
