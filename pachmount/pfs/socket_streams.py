"""Server streams over sockets of our own (http2.py): file content as it arrives, listings in batches of messages.

Only what carries much goes this way. Where a server or a proxy in between is not understood, `SocketStreams` says so
once in the log and its owner uses grpcio from then on.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from pachmount.pfs.channel import decode_certificates  # first: it prepares grpc's environment

# isort: split
import grpc

from pachmount.errors import ClusterTimeoutError, DataError, PachmountError
from pachmount.pfs.address import ClusterAddress
from pachmount.pfs.dial import dial
from pachmount.pfs.frames import ConnectionLostError
from pachmount.pfs.framing import Framing, failure_of
from pachmount.pfs.http2 import MAX_REQUEST_BYTES, Http2Connection, NotHttp2Error, StreamResetError
from pachmount.pfs.status import CallFailedError, to_error

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
MAX_IDLE = 4
"""Connections kept for the next call."""
IDLE_SECONDS = 20.0

_RESET_CODES = {
    7: grpc.StatusCode.UNAVAILABLE,  # REFUSED_STREAM
    8: grpc.StatusCode.CANCELLED,
    11: grpc.StatusCode.RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    12: grpc.StatusCode.PERMISSION_DENIED,  # INADEQUATE_SECURITY
}


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class NotUsableError(Exception):
    """This way does not lead to this server; grpcio may."""


class CancellableIterator(Protocol[T_co]):
    """A stream of grpcio's."""

    def __iter__(self) -> Iterator[T_co]: ...

    def cancel(self) -> None: ...


class SocketStreams:
    """The connections to one address. Thread-safe."""

    def __init__(self, address: ClusterAddress, server_cas: str) -> None:
        self.address = address
        self.usable = True
        self._server_cas = server_cas
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Http2Connection]] = []
        self._busy: weakref.WeakSet[Http2Connection] = weakref.WeakSet()
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    def call(
        self, path: str, metadata: Sequence[tuple[str, str]], body: bytes, idle_s: float, *, fresh: bool = False
    ) -> tuple[Http2Connection, bool]:
        """Send a request; the connection to read the answer from, and whether it had been used before.

        Raises CallFailedError, or NotUsableError.
        """
        if len(body) > MAX_REQUEST_BYTES:
            raise NotUsableError(f"a request of {len(body)} bytes")
        headers = [("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "pachmount"), *metadata]
        message = b"\0" + len(body).to_bytes(4, "big") + body
        while True:
            connection = None if fresh else self._take_idle(len(message))
            reused = connection is not None
            try:
                connection = connection or self._connect(idle_s)
                connection.idle_s = idle_s
                with self._lock:
                    if self._closed:
                        raise ConnectionLostError("the connection was closed by us")
                    self._busy.add(connection)
                connection.request(path, headers, message)
                return connection, reused
            except (OSError, ConnectionLostError) as error:
                if connection is not None:
                    connection.close()
                if not reused:
                    raise CallFailedError(grpc.StatusCode.UNAVAILABLE, _reason(error)) from error

    def give_back(self, connection: Http2Connection) -> None:
        """Keep a connection whose stream is over for the next call."""
        with self._lock:
            self._busy.discard(connection)
            if connection.reusable and not self._closed and len(self._idle) < MAX_IDLE:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()

    def give_up(self, why: object) -> None:
        """Use grpcio for this address from now on."""
        if self.usable:
            self.usable = False
            log.warning("reading from %s by grpcio only, which is slower: %s", self.address.qualified, why)

    def close(self) -> None:
        """End all connections; streams under way fail."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        for _, connection in idle:
            connection.close()
        for connection in busy:
            connection.abort()

    def _take_idle(self, size: int) -> Http2Connection | None:
        """A connection that was used before, is not too old, and takes a request of `size` bytes, or None."""
        with self._lock:
            while self._idle:
                since, connection = self._idle.pop()
                if time.monotonic() - since < IDLE_SECONDS and connection.takes(size):
                    return connection
                connection.close()
        return None

    def _connect(self, idle_s: float) -> Http2Connection:
        address = self.address
        sock = dial(address, min(CONNECT_SECONDS, idle_s))
        if address.scheme == "unix":
            return Http2Connection(sock, "http", "localhost")
        authority = address.qualified.partition("://")[2]
        return Http2Connection(self._encrypted(sock), "https" if address.secure else "http", authority)

    def _encrypted(self, sock: socket.socket) -> socket.socket:
        if not self.address.secure:
            return sock
        try:
            wrapped = self._tls_context().wrap_socket(sock, server_hostname=self.address.host)
        except ssl.SSLError as error:
            sock.close()
            raise NotUsableError(f"TLS: {error.reason or error}") from error  # grpcio says it in its words, or manages
        except BaseException:
            sock.close()
            raise
        if wrapped.selected_alpn_protocol() != "h2":
            wrapped.close()
            raise NotUsableError("TLS without HTTP/2 (ALPN)")
        return wrapped

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            context = ssl.create_default_context()
            if self._server_cas:
                context.load_verify_locations(cadata=decode_certificates(self._server_cas).decode("ascii"))
            context.set_alpn_protocols(["h2"])
            self._tls = context
        return self._tls


class SocketStream(Generic[T]):
    """One answer, for one reading thread at a time; the same conduct as streams.MessageStream.

    Nothing is sent before the first piece is asked for. Waiting longer than `idle_s` seconds for the next bytes raises
    ClusterTimeoutError. After `cancel` the iteration simply ends. `by_grpcio` starts the same call the other way,
    `on_failure` hears of the error that ends the stream before its reader does.
    """

    def __init__(
        self,
        streams: SocketStreams,
        path: str,
        metadata: Sequence[tuple[str, str]],
        body: bytes,
        framing: Framing[T],
        idle_s: float,
        by_grpcio: Callable[[], CancellableIterator[T]],
        on_failure: Callable[[PachmountError], None],
    ) -> None:
        self.idle_s = idle_s
        self._streams = streams
        self._request = path, metadata, body, idle_s
        self._framing = framing
        self._by_grpcio = by_grpcio
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._cancelled = False
        self._cancel_inner: Callable[[], None] | None = None
        self._pieces = self._run()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        try:
            return next(self._pieces)
        except ValueError:  # another thread cancels: it is closing the generator at this moment
            if self._cancelled:
                raise StopIteration from None
            raise

    def cancel(self) -> None:
        """Stop the transfer; an iteration under way, also in another thread, ends at once."""
        with self._lock:
            self._cancelled = True
        try:
            self._pieces.close()
        except ValueError:  # another thread is reading
            with self._lock:  # so that the connection is still ours
                if self._cancel_inner is not None:
                    self._cancel_inner()

    def _run(self) -> Generator[T, None, None]:
        address = self._streams.address.qualified
        yielded = False
        try:
            for piece in self._answer():
                yielded = True
                yield piece
            return
        except (NotUsableError, NotHttp2Error, ValueError) as error:
            if yielded:
                raise DataError(f"the cluster at {address} sent what cannot be read", str(error)) from error
            self._streams.give_up(error)
        except TimeoutError as error:
            if self._cancelled:
                return
            what, why = f"no answer from the cluster at {address}", f"nothing came for {self.idle_s:g} s"
            timeout = ClusterTimeoutError(what, why)
            self._on_failure(timeout)
            raise timeout from error
        except (CallFailedError, StreamResetError, ConnectionLostError, OSError) as error:
            if self._cancelled:
                return
            cause = _call_failure(error)
            failure = to_error(cause, address)
            self._on_failure(failure)
            raise failure from cause
        stream = self._by_grpcio()
        self._begin(stream.cancel)
        yield from stream

    def _answer(self) -> Iterator[T]:
        connection, piece = self._first_piece()
        framing, ended = self._framing, False
        try:
            while piece is not None:
                yield from framing.feed(piece, more=connection.more)
                piece = connection.read()
            ended = True
        except GeneratorExit:
            ended = connection.reset()
            raise
        finally:
            with self._lock:
                self._cancel_inner = None
            if ended:
                self._streams.give_back(connection)
            else:
                connection.close()
        failure = failure_of(connection)
        if failure is not None:
            raise failure
        if not framing.complete:
            raise ConnectionLostError("the answer ended in the middle of a message")

    def _first_piece(self) -> tuple[Http2Connection, memoryview | None]:
        """Send the request and wait for the answer to begin; an idle connection may have ended without our knowing."""
        connection, reused = self._streams.call(*self._request)
        try:
            self._begin(connection.abort)
            return connection, connection.read()
        except (ConnectionLostError, ConnectionError, StreamResetError):
            connection.close()
            if not reused or connection.answered or self._cancelled:
                raise
        except BaseException:
            connection.close()
            raise
        connection, _ = self._streams.call(*self._request, fresh=True)
        try:
            self._begin(connection.abort)
            return connection, connection.read()
        except BaseException:
            connection.close()
            raise

    def _begin(self, cancel: Callable[[], None]) -> None:
        with self._lock:
            self._cancel_inner = cancel
            cancelled = self._cancelled
        if cancelled:
            cancel()


def _call_failure(error: Exception) -> CallFailedError:
    """What grpcio would have raised; that its causes look alike decides what is tried again."""
    if isinstance(error, CallFailedError):
        return error
    if isinstance(error, StreamResetError):
        return CallFailedError(_RESET_CODES.get(error.code, grpc.StatusCode.INTERNAL), str(error))
    return CallFailedError(grpc.StatusCode.UNAVAILABLE, _reason(error))


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
