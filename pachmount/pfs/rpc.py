"""Calls to one cluster: a lazily opened channel, the token, deadlines, retries, errors of our own kind."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, TypeVar

from pachmount.pfs.channel import open_channel  # first: it prepares the environment that grpc reads when imported

# isort: split
import grpc

from pachmount.errors import ClusterUnreachableError, PachmountError
from pachmount.pfs.address import ClusterAddress
from pachmount.pfs.content import ContentStream
from pachmount.pfs.convert import decode_content
from pachmount.pfs.framing import ByteMessages, Framing, WholeMessages
from pachmount.pfs.line import Line, Lines
from pachmount.pfs.socket_streams import SocketStream, SocketStreams
from pachmount.pfs.status import code_of, is_transient, to_error
from pachmount.pfs.streams import MessageStream, Watchdog
from pachmount.pfs.traffic import Traffic

T = TypeVar("T")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_SMALL_BATCH = 32
_GATHER_S = 0.002
"""A long listing that comes in smaller batches is looked at only so often: each look at the socket costs."""


class Request(Protocol):
    """Any protobuf message."""

    def SerializeToString(self) -> bytes: ...  # noqa: N802


class Rpc:
    """Thread-safe. `call_timeout` is the deadline of one unary call in seconds, its repetitions included.

    A call that may safely be repeated is, with growing pauses, for at most `retry_for` seconds after a transient
    failure: long enough for a server to restart, short enough for a person to wait.
    """

    def __init__(
        self,
        address: ClusterAddress,
        token: str,
        server_cas: str,
        call_timeout: float,
        retry_for: float,
        traffic: Traffic,
    ) -> None:
        self.address = address
        self.traffic = traffic
        self.call_timeout = call_timeout
        self._retry_for = retry_for
        self.token = ""
        self._metadata: tuple[tuple[str, str], ...] = ()
        self._lines = Lines(lambda: open_channel(address, server_cas))
        self._closed = threading.Event()
        self._watchdog = Watchdog()
        self._sockets = SocketStreams(address, server_cas)
        self.set_token(token)

    def set_token(self, token: str) -> None:
        """Use another token from the next call on; "" for none."""
        self.token = token
        self._metadata = (("authn-token", token),) if token else ()

    def close(self) -> None:
        """End the connection; calls under way fail with ClusterUnreachableError."""
        self._closed.set()
        self._lines.close()
        self._sockets.close()
        self._watchdog.close()

    def unary(
        self,
        method: str,
        request: Request,
        decode: Callable[[bytes], T],
        *,
        timeout: float | None = None,
        repeatable: bool = True,
        is_answer: Callable[[PachmountError], bool] = lambda _: False,
    ) -> T:
        """Make one call; `timeout` (seconds) overrides the client's deadline.

        Errors that are answers to the question by `is_answer` are raised like others but not counted as failures.
        """
        deadline = time.monotonic() + (self.call_timeout if timeout is None else timeout)

        def attempt() -> T:
            started, line = time.monotonic(), self._line(method)
            left = max(deadline - started, 0.001)
            call = line.method(method, "unary_unary", decode, _serialized)
            try:
                answer: T = call(request, timeout=left, metadata=self._metadata)
                line.hear()
            except grpc.RpcError as error:
                if code_of(error) is grpc.StatusCode.DEADLINE_EXCEEDED:
                    self._lines.timed_out(line, started)
                else:
                    line.hear()
                failure = to_error(error, self.address.qualified)
                if not is_answer(failure):
                    self.traffic.failed(failure)
                raise failure from error
            return answer

        return self._repeated(attempt, deadline) if repeatable else self._guarded(attempt)

    def stream(
        self, method: str, request: Request, decode: Callable[[bytes], T], *, idle_timeout: float | None = None
    ) -> MessageStream[T]:
        """Start a server stream; it is not repeated. Failures show when it is read."""
        return self._started(method, "unary_stream", request, decode, idle_timeout)

    def both_stream(
        self,
        method: str,
        requests: Iterator[Request],
        decode: Callable[[bytes], T],
        *,
        idle_timeout: float | None = None,
    ) -> MessageStream[T]:
        """Start a stream both ways; `requests` is read in a thread of gRPC's. Failures show when answers are read."""
        return self._started(method, "stream_stream", requests, decode, idle_timeout)

    def _started(
        self,
        method: str,
        kind: str,
        argument: Any,
        decode: Callable[[bytes], T],
        idle_timeout: float | None,
    ) -> MessageStream[T]:
        idle_s = self.call_timeout if idle_timeout is None else idle_timeout

        def start() -> MessageStream[T]:
            line = self._line(method)
            call = line.method(method, kind, decode, _serialized)(argument, metadata=self._metadata)
            give_up = partial(self._lines.timed_out, line)
            stream: MessageStream[T] = MessageStream(
                call, self._watchdog, idle_s, self.address.qualified, self.traffic.failed, give_up
            )
            line.add_stream(stream)
            return stream

        return self._guarded(start)

    def byte_stream(self, method: str, request: Request, idle_timeout: float | None = None) -> ContentStream:
        """The content in a stream of BytesValue messages."""
        return ContentStream(self._socket_stream(method, request, decode_content, ByteMessages(), idle_timeout))

    def _socket_stream(
        self,
        method: str,
        request: Request,
        decode: Callable[[bytes], T],
        framing: Framing[T],
        idle_timeout: float | None,
    ) -> MessageStream[T] | SocketStream[T]:
        def by_grpcio() -> MessageStream[T]:
            return self.stream(method, request, decode, idle_timeout=idle_timeout)

        if not self._sockets.usable:
            return by_grpcio()
        if self._closed.is_set():
            raise self._closed_error()
        idle_s = self.call_timeout if idle_timeout is None else idle_timeout
        body = request.SerializeToString()
        self.traffic.called(method)
        failed = self.traffic.failed
        return SocketStream(self._sockets, method, self._metadata, body, framing, idle_s, by_grpcio, failed)

    def collect(self, method: str, request: Request, decode: Callable[[bytes], T]) -> list[T]:
        """All messages of a short server stream, repeated as a whole after a transient failure."""
        return self._repeated(lambda: list(self.stream(method, request, decode)), time.monotonic() + self.call_timeout)

    def listing(
        self,
        method: str,
        request: Request,
        decode: Callable[[list[bytes]], list[T]],
        *,
        idle_timeout: float | None = None,
    ) -> Iterator[list[T]]:
        """The messages of a long server stream, in batches as they arrive, none of them empty.

        `idle_timeout` (seconds) is the longest wait for a message. A transient failure is repaired only before the
        first one. The call is cancelled when the generator is closed.
        """

        def attempt() -> tuple[Iterator[list[bytes]], Callable[[], None]]:
            stream = self._socket_stream(method, request, _alone, WholeMessages(), idle_timeout)
            first = next(stream, None)
            return itertools.chain([first] if first else [], stream), stream.cancel

        batches, cancel = self._repeated(attempt, time.monotonic() + self.call_timeout)
        try:
            for number, batch in enumerate(batches):
                yield decode(batch)
                if len(batch) < _SMALL_BATCH and number > _SMALL_BATCH and self._sockets.usable:
                    time.sleep(_GATHER_S)
        finally:
            cancel()

    def client_stream(self, method: str, requests: Iterator[bytes]) -> Any:
        """Start a client stream of encoded messages; the answer is a future of the encoded one."""
        line = self._line(method)
        call = line.method(method, "stream_unary", bytes, None)
        answer = self._guarded(lambda: call.future(requests, metadata=self._metadata))
        line.add_upload(answer)
        return answer

    def _line(self, method: str) -> Line:
        """The connection for a call of `method`, which is counted."""
        self.traffic.called(method)
        line = self._lines.current()
        if line is None:
            raise self._closed_error()
        return line

    def _repeated(self, attempt: Callable[[], T], deadline: float) -> T:
        give_up = min(deadline, time.monotonic() + self._retry_for)
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return self._guarded(attempt)
            except PachmountError as error:
                wait = pause * random.uniform(0.5, 1.0)  # noqa: S311  # spreads clients, protects nothing
                if not is_transient(error.__cause__) or time.monotonic() + wait >= give_up:
                    raise
            if self._closed.wait(wait):
                raise self._closed_error()
            self.traffic.retried()
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _guarded(self, attempt: Callable[[], T]) -> T:
        try:
            return attempt()
        except ValueError as error:  # how grpc says that the channel was closed by another thread meanwhile
            if self._closed.is_set():
                raise self._closed_error() from error
            raise

    def _closed_error(self) -> ClusterUnreachableError:
        return ClusterUnreachableError(f"the connection to {self.address.qualified} was closed")


def _alone(message: bytes) -> list[bytes]:
    """grpcio hands messages over one by one."""
    return [message]


def _serialized(message: Request) -> bytes:
    return message.SerializeToString()
