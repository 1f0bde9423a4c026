"""HTTP/2 for one server stream at a time, on a socket of its own: only what a gRPC answer needs (RFC 9113).

Why not grpcio for the streams that carry much: it costs 20 to 60 µs of Python a message and hands a message over only
when it is whole (19 MiB of a file). Read here, 1 GiB takes a sixth of the CPU time, and the first bytes are there as
soon as they arrive. Everything else of gRPC stays with grpcio.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Sequence

import hpack

from pachmount.pfs import frames
from pachmount.pfs.frames import ConnectionLostError, ProtocolError, frame

FIRST_WINDOW = (1 << 20) + (64 << 10)
"""Bytes that a server may send before the reader has taken 1 MiB: what a reader who wants only a little pays for."""
LEFTOVER = 256 << 10
"""A stream given up leaves at most so many bytes on their way, or its connection is not worth keeping."""
MAX_WINDOW = 8 << 20
"""The same once a stream is being read on and on; at 8 MiB a path of 1 Gbit/s and 60 ms stays full."""
MAX_FRAME = 1 << 20
MAX_REQUEST_BYTES = 32 << 10
"""The longest body of a request; it fits into the window that every server gives at first."""
RECEIVE_BYTES = 512 << 10

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SENT_FRAME = frames.SMALLEST_MAX_FRAME
_SPARE = 64 << 10


class NotHttp2Error(Exception):
    """The other side does not speak HTTP/2 as we do, found out before it answered anything."""


class StreamResetError(Exception):
    """The server ended the stream; `code` is its HTTP/2 error code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"stream reset with HTTP/2 error {code}")
        self.code = code


class Http2Connection:
    """Streams one after the other on `sock`, which is connected; used by one thread at a time.

    `idle_s` is how many seconds `request` and `read` wait at most; a read waits anew only when bytes of its own stream
    or the headers of its answer came, whatever else the server sends meanwhile. Then they raise TimeoutError; other
    kinds of OSError come from the socket as they are. `abort` may be called from any thread.
    """

    def __init__(self, sock: socket.socket, scheme: str, authority: str) -> None:
        self.sock = sock
        self.idle_s = 30.0
        self.headers: dict[str, str] = {}
        self.trailers: dict[str, str] = {}
        self.answered = False
        self.reusable = True
        self._scheme, self._authority = scheme, authority
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder(frames.MAX_CONTROL_BYTES)
        self._buffer = bytearray(RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._stream = -1
        self._left = self._padding = self._stale = self._untold = 0
        self._ends_with_data = self._ended = self._greeted = False
        self._window = FIRST_WINDOW
        self._consumed = 0
        self._deadline = 0.0
        self._may_send = self._may_send_each = frames.DEFAULT_WINDOW  # bytes, in all and in one stream
        settings = ((frames.SETTING_PUSH, 0), (frames.SETTING_WINDOW, FIRST_WINDOW), (frames.SETTING_FRAME, MAX_FRAME))
        payload = b"".join(struct.pack(">HI", key, value) for key, value in settings)
        window = struct.pack(">I", MAX_WINDOW - frames.DEFAULT_WINDOW)
        self._outgoing = _PREFACE + frame(frames.SETTINGS, 0, 0, payload) + frame(frames.WINDOW_UPDATE, 0, 0, window)

    def request(self, path: str, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Start the next stream: a POST of `body`. Raises OSError.

        `body` may have MAX_REQUEST_BYTES, and on a connection that was used before no more than `takes` allows.
        """
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
            self._outgoing += frame(frames.WINDOW_UPDATE, 0, 0, struct.pack(">I", self._untold))
            self._untold = 0
        sent = [self._outgoing, frame(frames.HEADERS, frames.END_HEADERS, self._stream, block)]
        pieces = [body[at : at + _SENT_FRAME] for at in range(0, len(body), _SENT_FRAME)] or [b""]
        sent += [frame(frames.DATA, 0, self._stream, piece) for piece in pieces[:-1]]
        sent.append(frame(frames.DATA, frames.END_STREAM, self._stream, pieces[-1]))
        self._outgoing = b""
        self._may_send -= len(body)
        self.sock.settimeout(self.idle_s)
        self.sock.sendall(b"".join(sent))

    def takes(self, size: int) -> bool:
        """Whether the server's windows have room for a body of `size` bytes in one more request."""
        return size <= min(self._may_send, self._may_send_each)

    def read(self) -> memoryview | None:
        """The next bytes of the answer's body, valid until the next call; None at its end, when `trailers` are there.

        Raises StreamResetError, ConnectionLostError, NotHttp2Error, OSError.
        """
        self._deadline = time.monotonic() + self.idle_s
        try:
            return self._read()
        except ProtocolError as error:
            self._say_why(error)
            raise

    def _read(self) -> memoryview | None:
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
            self._fill(frames.HEADER_BYTES)
            start, buffer = self._start, self._buffer
            length = int.from_bytes(buffer[start : start + 3], "big")
            kind, flags = buffer[start + 3], buffer[start + 4]
            stream = int.from_bytes(buffer[start + 5 : start + 9], "big") & 0x7FFFFFFF
            if not self._greeted and (kind != frames.SETTINGS or stream or flags & frames.ACK):
                raise NotHttp2Error(f"the first thing it sent was {bytes(buffer[start : start + 9])!r}")
            self._greeted = True
            self._start += frames.HEADER_BYTES
            frames.check(kind, flags, stream, length, current=self._stream, max_data=MAX_FRAME)
            if kind == frames.DATA and stream != self._stream:
                self._stale = length
            elif kind == frames.DATA:
                self._begin_data(length, flags)
            else:
                self._control(kind, flags, stream, self._take(length))

    def reset(self) -> bool:
        """Give up the stream; whether the connection can take another one at once, with little of this one to skip."""
        if not self.reusable or not self.answered or self._window - self._consumed > LEFTOVER:
            return False
        try:
            self.sock.sendall(frame(frames.RST_STREAM, 0, self._stream, struct.pack(">I", frames.CANCEL)))
        except OSError:
            return False
        return True

    @property
    def more(self) -> bool:
        """Whether `read` gives bytes of the body without waiting for the server."""
        start, waiting = self._start, self._end - self._start
        if self._left or self._ends_with_data:
            return self._left > 0 and waiting > 0
        if waiting <= frames.HEADER_BYTES:
            return False
        kind, flags = self._buffer[start + 3], self._buffer[start + 4]
        ours = self._buffer[start + 5 : start + 9] == self._stream.to_bytes(4, "big")
        is_plain = kind == frames.DATA and not flags & frames.PADDED
        return is_plain and ours and any(self._buffer[start : start + 3])

    def abort(self) -> None:
        """End the connection from any thread; a reader that waits gets an error or the end at once."""
        self.reusable = False
        with contextlib.suppress(OSError):  # it may have ended already
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # not SSLSocket's, which would pull TLS from under it

    def close(self) -> None:
        self.reusable = False
        self.sock.close()

    def _say_why(self, error: ProtocolError) -> None:
        """Tell the server that the connection ends because it broke a rule, as RFC 9113 wants it (5.4.1)."""
        self.reusable = False
        with contextlib.suppress(OSError):  # the connection is closed in any case
            self.sock.sendall(frame(frames.GOAWAY, 0, 0, struct.pack(">II", 0, error.code)))

    def _begin_data(self, length: int, flags: int) -> None:
        if not self.answered:
            raise ProtocolError("content before the headers of the answer")
        if self._consumed + length > self._window:
            raise ProtocolError(f"{length} bytes, more than the window has room for", frames.FLOW_CONTROL_ERROR)
        first = 0
        if flags & frames.PADDED:
            if not length:
                raise ProtocolError("an empty frame that should be padded", frames.FRAME_SIZE_ERROR)
            first = self._take(1)[0]
        self._padding = frames.padding(flags, length, first)
        self._left = length - self._padding - (1 if flags & frames.PADDED else 0)
        self._consumed += length - self._left
        self._ends_with_data = bool(flags & frames.END_STREAM)
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
        connection = frame(frames.WINDOW_UPDATE, 0, 0, struct.pack(">I", self._consumed + self._untold))
        stream = frame(frames.WINDOW_UPDATE, 0, self._stream, struct.pack(">I", self._consumed + growth))
        self._window += growth
        self._consumed = self._untold = 0
        self._send(connection + stream)

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == frames.HEADERS:
            self._on_headers(flags, stream, frames.header_block(flags, payload))
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            self._on_settings(payload)
        elif kind == frames.PING and not flags & frames.ACK:
            self._send(frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.WINDOW_UPDATE:
            self._on_window(stream, payload)
        elif kind == frames.RST_STREAM and stream == self._stream:
            code = int.from_bytes(payload, "big")
            if code or not self.trailers:
                raise StreamResetError(code)
        elif kind == frames.GOAWAY:
            self.reusable = False
            if int.from_bytes(payload[:4], "big") & 0x7FFFFFFF < self._stream:
                raise ConnectionLostError("the server is going away")

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> None:
        ended, block = bool(flags & frames.END_STREAM), bytearray(payload)
        while not flags & frames.END_HEADERS:
            header = self._take(frames.HEADER_BYTES)
            length, kind, flags = int.from_bytes(header[:3], "big"), header[3], header[4]
            same = int.from_bytes(header[5:], "big") & 0x7FFFFFFF == stream
            if kind != frames.CONTINUATION or not same or len(block) + length > frames.MAX_CONTROL_BYTES:
                raise ProtocolError("headers that do not end")
            block += self._take(length)
        try:
            fields = {str(name): str(value) for name, value in self._decoder.decode(bytes(block))}
        except hpack.HPACKError as error:
            raise ProtocolError(f"headers that cannot be read: {error}", frames.COMPRESSION_ERROR) from error
        if stream != self._stream:
            return
        if not self.answered and fields.get(":status", "").startswith("1"):
            if ended:
                raise ProtocolError("an answer that ends with interim headers")
            return
        if self.answered and not ended:
            raise ProtocolError("headers in the middle of an answer")
        if ended:
            self.trailers, self._ended = fields, True
        if not self.answered:
            self.headers, self.answered = fields, True
            self._deadline = time.monotonic() + self.idle_s

    def _on_settings(self, payload: bytes) -> None:
        for key, value in frames.settings(payload):
            if key == frames.SETTING_HEADER_TABLE:
                self._encoder.header_table_size = min(value, 4096)
            elif key == frames.SETTING_WINDOW:
                self._may_send_each = value
        self._send(frame(frames.SETTINGS, frames.ACK, 0, b""))

    def _on_window(self, stream: int, payload: bytes) -> None:
        increment = int.from_bytes(payload, "big") & frames.LARGEST_WINDOW
        if not increment:
            raise ProtocolError("a window that grows by nothing")
        if not stream:
            self._may_send += increment
            if self._may_send > frames.LARGEST_WINDOW:
                raise ProtocolError(f"a window of {self._may_send} bytes", frames.FLOW_CONTROL_ERROR)

    def _take(self, size: int) -> bytes:
        self._fill(size)
        taken = bytes(self._view[self._start : self._start + size])
        self._start += size
        return taken

    def _fill(self, size: int) -> None:
        """See to it that at least `size` bytes (at most frames.MAX_CONTROL_BYTES) are in the buffer."""
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
        self._limit()
        size = self.sock.recv_into(self._view[self._end :])
        if not size:
            raise ConnectionLostError("the connection was closed")
        self._end += size

    def _send(self, data: bytes) -> None:
        self._limit()
        self.sock.sendall(data)

    def _limit(self) -> None:
        """Let the next call of the socket wait until the deadline of `read` at most. Raises TimeoutError."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"nothing came for {self.idle_s:g} s")
        self.sock.settimeout(left)
