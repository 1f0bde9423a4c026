"""HTTP/2 for one server stream at a time, on a socket of its own: only what a gRPC answer needs (RFC 9113).

Why not grpcio for the streams that carry much: it costs 20 to 60 µs of Python a message and hands a message over only
when it is whole (19 MiB of a file). Read here, 1 GiB takes a sixth of the CPU time, and the first bytes are there as
soon as they arrive. Everything else of gRPC stays with grpcio.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence

import hpack

FIRST_WINDOW = (1 << 20) + (64 << 10)
"""Bytes that a server may send before the reader has taken 1 MiB: what a reader who wants only a little pays for."""
LEFTOVER = 256 << 10
"""A stream given up leaves at most so many bytes on their way, or its connection is not worth keeping."""
MAX_WINDOW = 8 << 20
"""The same once a stream is being read on and on; at 8 MiB a path of 1 Gbit/s and 60 ms stays full."""
MAX_FRAME = 1 << 20
MAX_HEADER_BYTES = 64 << 10
MAX_REQUEST_BYTES = 32 << 10
"""Requests are not flow-controlled by us, so they must fit into the window that every server gives at first."""
RECEIVE_BYTES = 512 << 10

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_CANCEL = 8
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_FRAME_HEADER = 9
_DEFAULT_WINDOW = 65_535
_SENT_FRAME = 16_384
_SPARE = 64 << 10
_SETTING_HEADER_TABLE, _SETTING_PUSH, _SETTING_WINDOW, _SETTING_FRAME = 1, 2, 4, 5


class NotHttp2Error(Exception):
    """The other side does not speak HTTP/2 as we do, found out before it answered anything."""


class StreamResetError(Exception):
    """The server ended the stream; `code` is its HTTP/2 error code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"stream reset with HTTP/2 error {code}")
        self.code = code


class ConnectionLostError(Exception):
    """The connection ended before the stream did."""


class Http2Connection:
    """Streams one after the other on `sock` (connected, its timeout set by the owner); used by one thread at a time.

    OSError (TimeoutError among them) comes from the socket as it is. `abort` may be called from any thread.
    """

    def __init__(self, sock: socket.socket, scheme: str, authority: str) -> None:
        self.sock = sock
        self.headers: dict[str, str] = {}
        self.trailers: dict[str, str] = {}
        self.answered = False
        self.reusable = True
        self._scheme, self._authority = scheme, authority
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder(MAX_HEADER_BYTES)
        self._buffer = bytearray(RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._stream = -1
        self._left = self._padding = self._stale = self._untold = 0
        self._ends_with_data = self._ended = self._greeted = False
        self._window = FIRST_WINDOW
        self._consumed = 0
        settings = ((_SETTING_PUSH, 0), (_SETTING_WINDOW, FIRST_WINDOW), (_SETTING_FRAME, MAX_FRAME))
        payload = b"".join(struct.pack(">HI", key, value) for key, value in settings)
        window = struct.pack(">I", MAX_WINDOW - _DEFAULT_WINDOW)
        self._outgoing = _PREFACE + _frame(_SETTINGS, 0, 0, payload) + _frame(_WINDOW_UPDATE, 0, 0, window)

    def request(self, path: str, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Start the next stream: a POST of `body` (at most MAX_REQUEST_BYTES)."""
        self._stream += 2
        self._untold += self._consumed  # the connection's window outlives the stream
        self._stale += self._left + self._padding
        self.headers, self.trailers, self.answered, self._ended = {}, {}, False, False
        self._ends_with_data = False
        self._left = self._padding = self._consumed = 0
        self._window = FIRST_WINDOW
        fields = [(":method", "POST"), (":scheme", self._scheme), (":path", path), (":authority", self._authority)]
        block = self._encoder.encode([*fields, *headers])
        if self._untold:
            self._outgoing += _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._untold))
            self._untold = 0
        frames = [self._outgoing, _frame(_HEADERS, _END_HEADERS, self._stream, block)]
        pieces = [body[at : at + _SENT_FRAME] for at in range(0, len(body), _SENT_FRAME)] or [b""]
        frames += [_frame(_DATA, 0, self._stream, piece) for piece in pieces[:-1]]
        frames.append(_frame(_DATA, _END_STREAM, self._stream, pieces[-1]))
        self._outgoing = b""
        self.sock.sendall(b"".join(frames))

    def read(self) -> memoryview | None:
        """The next bytes of the answer's body, valid until the next call; None at its end, when `trailers` are there.

        Raises StreamResetError, ConnectionLostError, NotHttp2Error, OSError.
        """
        while True:
            if self._stale:
                self._skip_stale()
                continue
            if self._left:
                return self._piece()
            if self._ends_with_data:
                self._ends_with_data, self._ended = False, True
            if self._ended:
                return None
            self._fill(_FRAME_HEADER)
            start, buffer = self._start, self._buffer
            length = int.from_bytes(buffer[start : start + 3], "big")
            kind, flags = buffer[start + 3], buffer[start + 4]
            stream = int.from_bytes(buffer[start + 5 : start + 9], "big") & 0x7FFFFFFF
            if not self._greeted and (kind != _SETTINGS or stream or flags & _ACK):
                raise NotHttp2Error(f"the first thing it sent was {bytes(buffer[start : start + 9])!r}")
            self._greeted = True
            self._start += _FRAME_HEADER
            if kind == _DATA and stream < self._stream:
                self._stale = length
            elif kind == _DATA:
                self._begin_data(length, flags, stream)
            else:
                if length > MAX_HEADER_BYTES:
                    raise ConnectionLostError(f"a frame of type {kind} with {length} bytes")
                self._control(kind, flags, stream, self._take(length))

    def reset(self) -> bool:
        """Give up the stream; whether the connection can take another one at once, with little of this one to skip."""
        if not self.reusable or not self.answered or self._window - self._consumed > LEFTOVER:
            return False
        try:
            self.sock.sendall(_frame(_RST_STREAM, 0, self._stream, struct.pack(">I", _CANCEL)))
        except OSError:
            return False
        return True

    @property
    def more(self) -> bool:
        """Whether `read` gives bytes of the body without waiting for the server."""
        start, waiting = self._start, self._end - self._start
        if self._left or self._ends_with_data:
            return self._left > 0 and waiting > 0
        if waiting <= _FRAME_HEADER or self._buffer[start + 3] != _DATA or self._buffer[start + 4] & _PADDED:
            return False
        ours = self._buffer[start + 5 : start + 9] == self._stream.to_bytes(4, "big")
        return ours and any(self._buffer[start : start + 3])

    def abort(self) -> None:
        """End the connection from any thread; a reader that waits gets an error or the end at once."""
        self.reusable = False
        with contextlib.suppress(OSError):  # it may have ended already
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # not SSLSocket's, which would pull TLS from under it

    def close(self) -> None:
        self.reusable = False
        self.sock.close()

    def _begin_data(self, length: int, flags: int, stream: int) -> None:
        if stream != self._stream:
            raise ConnectionLostError(f"data of stream {stream} in stream {self._stream}")
        padding = self._take(1)[0] if flags & _PADDED else 0
        self._left = length - (1 + padding if flags & _PADDED else 0)
        if self._left < 0:
            raise ConnectionLostError("a frame with more padding than bytes")
        self._padding = padding
        self._consumed += length - self._left
        self._ends_with_data = bool(flags & _END_STREAM)
        if not self._left:
            self._skip_padding()

    def _piece(self) -> memoryview:
        if self._start == self._end:
            self._credit()
            self._receive()
        size = min(self._left, self._end - self._start)
        piece = self._view[self._start : self._start + size]
        self._start += size
        self._left -= size
        self._consumed += size
        if not self._left and self._padding:
            piece = memoryview(bytes(piece))  # skipping the padding may receive into the buffer
            self._skip_padding()
        return piece

    def _skip_stale(self) -> None:
        """Pass over bytes of a stream that was given up."""
        if self._start == self._end:
            self._receive()
        size = min(self._stale, self._end - self._start)
        self._start += size
        self._stale -= size
        self._untold += size

    def _skip_padding(self) -> None:
        if self._padding:
            self._take(self._padding)
            self._padding = 0

    def _credit(self) -> None:
        """Allow the server to send as much as was taken, and more to a stream that is being read on."""
        due = FIRST_WINDOW - _SPARE if self._window == FIRST_WINDOW else self._window // 2
        if self._consumed < due or self._ends_with_data:
            return
        growth = min(MAX_WINDOW, 2 * self._window) - self._window
        connection = _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._consumed + self._untold))
        stream = _frame(_WINDOW_UPDATE, 0, self._stream, struct.pack(">I", self._consumed + growth))
        self._window += growth
        self._consumed = self._untold = 0
        self.sock.sendall(connection + stream)

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _HEADERS:
            self._on_headers(flags, stream, payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self._on_settings(payload)
        elif kind == _PING and not flags & _ACK:
            self.sock.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _RST_STREAM and stream == self._stream:
            code = int.from_bytes(payload, "big")
            if code or not self.trailers:
                raise StreamResetError(code)
        elif kind == _GOAWAY:
            self.reusable = False
            if int.from_bytes(payload[:4], "big") & 0x7FFFFFFF < self._stream:
                raise ConnectionLostError("the server is going away")

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & _PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if flags & _PRIORITY:
            payload = payload[5:]
        ended, block = bool(flags & _END_STREAM), bytearray(payload)
        while not flags & _END_HEADERS:
            header = self._take(_FRAME_HEADER)
            length, kind, flags = int.from_bytes(header[:3], "big"), header[3], header[4]
            if kind != _CONTINUATION or len(block) + length > MAX_HEADER_BYTES:
                raise ConnectionLostError("headers that do not end")
            block += self._take(length)
        try:
            fields = {str(name): str(value) for name, value in self._decoder.decode(bytes(block))}
        except hpack.HPACKError as error:
            raise ConnectionLostError(f"headers that cannot be read: {error}") from error
        if stream != self._stream:
            return
        if ended:
            self.trailers, self._ended = fields, True
        if not self.answered:
            self.headers, self.answered = fields, True

    def _on_settings(self, payload: bytes) -> None:
        for key, value in struct.iter_unpack(">HI", payload[: len(payload) // 6 * 6]):
            if key == _SETTING_HEADER_TABLE:
                self._encoder.header_table_size = min(value, 4096)
        self.sock.sendall(_frame(_SETTINGS, _ACK, 0, b""))

    def _take(self, size: int) -> bytes:
        self._fill(size)
        taken = bytes(self._view[self._start : self._start + size])
        self._start += size
        return taken

    def _fill(self, size: int) -> None:
        """See to it that at least `size` bytes (at most MAX_HEADER_BYTES) are in the buffer."""
        while self._end - self._start < size:
            if self._start:
                waiting = bytes(self._view[self._start : self._end])
                self._view[: len(waiting)] = waiting
                self._start, self._end = 0, len(waiting)
            self._credit()
            self._receive()

    def _receive(self) -> None:
        if self._start == self._end:
            self._start = self._end = 0
        size = self.sock.recv_into(self._view[self._end :])
        if not size:
            raise ConnectionLostError("the connection was closed")
        self._end += size


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload
