"""A gRPC proxy on 127.0.0.1 that breaks calls in the ways of a server: statuses, short, long and wrong answers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import BytesValue

from pachmount.pfs.proto import pfs_pb2

CONTENT_CALLS = ("GetFile", "GetFileTAR")
LISTING_CALLS = ("WalkFile", "ListFile", "InspectFile", "GlobFile", "DiffFile")
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
THREADS = 100


class StatusError(Exception):
    """Ends a call with a status."""

    def __init__(self, code: grpc.StatusCode, text: str = "made up by the test") -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


@dataclass(frozen=True)
class Call:
    """A call that is being passed on: `method` without its service, `number` counts those of this method from 1."""

    method: str
    number: int
    request: bytes
    metadata: dict[str, Any]

    @property
    def is_content(self) -> bool:
        return self.method in CONTENT_CALLS

    @property
    def file_request(self) -> pfs_pb2.GetFileRequest:
        return pfs_pb2.GetFileRequest.FromString(self.request)


Fault = Callable[[Call, Iterator[bytes]], Iterable[bytes]]
"""Turns the messages of an answer into others; raises a StatusError to end it."""


class CallProxy:
    """Passes all calls with one request message on to `target`; a context manager.

    `fault` is applied to every answer while it is set. Counts calls, and the bytes of content in answers.
    """

    def __init__(self, target: str) -> None:
        self.fault: Fault | None = None
        self.calls: Counter[str] = Counter()
        self.content_bytes = 0
        self.content_requests: list[Call] = []
        self._lock = threading.Lock()
        self._channel = grpc.insecure_channel(target.removeprefix("grpc://"), _OPTIONS)
        self._server = grpc.server(ThreadPoolExecutor(THREADS), handlers=[_Handlers(self._pass)], options=_OPTIONS)
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def __enter__(self) -> CallProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        return f"grpc://127.0.0.1:{self._port}"

    @property
    def content_calls(self) -> int:
        return sum(self.calls[method] for method in CONTENT_CALLS)

    @property
    def listing_calls(self) -> int:
        return sum(self.calls[method] for method in LISTING_CALLS)

    def close(self) -> None:
        self._server.stop(None).wait(10)
        self._channel.close()

    def _pass(self, path: str, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        method = path.rpartition("/")[2]
        metadata = {key: value for key, value in context.invocation_metadata() if key == "authn-token"}
        with self._lock:
            self.calls[method] += 1
            call = Call(method, self.calls[method], request, metadata)
            if call.is_content:
                self.content_requests.append(call)
        upstream = self._channel.unary_stream(path)(request, metadata=tuple(metadata.items()))
        context.add_callback(upstream.cancel)  # when the caller goes away, or its deadline passes
        fault = self.fault
        try:
            for message in upstream if fault is None else fault(call, upstream):
                if call.is_content:
                    with self._lock:
                        self.content_bytes += len(message)
                yield message
        except StatusError as error:
            context.abort(error.code, error.text)
        except grpc.RpcError as error:
            if context.is_active():
                context.abort(error.code(), error.details())
        finally:
            upstream.cancel()


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, serve: Callable[[str, bytes, grpc.ServicerContext], Iterator[bytes]]) -> None:
        self._serve = serve

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        path = details.method
        return grpc.unary_stream_rpc_method_handler(lambda request, context: self._serve(path, request, context))


# --- faults


def content(messages: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes in the messages of GetFile and GetFileTAR."""
    return (BytesValue.FromString(message).value for message in messages)


def wrapped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Messages with these bytes."""
    return (BytesValue(value=piece).SerializeToString() for piece in pieces)


def recut(pieces: Iterable[bytes], sizes: Iterator[int]) -> Iterator[bytes]:
    """The same bytes in pieces of these sizes (0 gives an empty piece)."""
    held, size = b"", next(sizes)
    for piece in pieces:
        held += piece
        while len(held) >= size:
            yield held[:size]
            held, size = held[size:], next(sizes)
    if held:
        yield held


class On:
    """A fault for some calls only: those of `methods`, the first `times` of them after it was made (None: all)."""

    def __init__(self, fault: Fault, *, methods: Iterable[str] = CONTENT_CALLS, times: int | None = None) -> None:
        self.struck = 0
        self._fault = fault
        self._methods = frozenset(methods)
        self._times = times
        self._lock = threading.Lock()

    def __call__(self, call: Call, messages: Iterator[bytes]) -> Iterable[bytes]:
        with self._lock:
            if call.method not in self._methods or (self._times is not None and self.struck >= self._times):
                return messages
            self.struck += 1
        return self._fault(call, messages)


def status_after(size: int, code: grpc.StatusCode, text: str = "made up by the test") -> Fault:
    """`size` bytes of the answer (content, or messages of other calls), then a status."""

    def fault(call: Call, messages: Iterator[bytes]) -> Iterator[bytes]:
        yield from first(size)(call, messages)
        raise StatusError(code, text)

    return fault


def first(size: int) -> Fault:
    """The answer ends well after `size` bytes."""

    def fault(call: Call, messages: Iterator[bytes]) -> Iterator[bytes]:
        left = size
        for message in messages:
            (piece,) = content([message]) if call.is_content else [message]
            if len(piece) >= left:
                if call.is_content and left:
                    yield from wrapped([piece[:left]])
                return
            left -= len(piece)
            yield message

    return fault


def stall_after(size: int, seconds: float = 60.0) -> Fault:
    """`size` bytes of the answer, then nothing for some time, then the end without the rest."""

    def fault(call: Call, messages: Iterator[bytes]) -> Iterator[bytes]:
        yield from first(size)(call, messages)
        time.sleep(seconds)

    return fault


def followed_by(extra: bytes) -> Fault:
    """More bytes than there are."""

    def fault(call: Call, messages: Iterator[bytes]) -> Iterator[bytes]:
        yield from messages
        yield from wrapped([extra])

    return fault


def flipped(call: Call, messages: Iterator[bytes]) -> Iterator[bytes]:
    """One bit in the middle of each message's content is wrong."""

    def flip(piece: bytes) -> bytes:
        middle = len(piece) // 2
        return piece[:middle] + bytes([piece[middle] ^ 1]) + piece[middle + 1 :] if piece else piece

    return wrapped(flip(piece) for piece in content(messages))


def in_sizes(sizes: Callable[[], Iterator[int]]) -> Fault:
    """The right bytes in messages of other sizes."""
    return lambda call, messages: wrapped(recut(content(messages), sizes()))


def paused(seconds: float) -> Fault:
    """A pause before each message."""

    def fault(call: Call, messages: Iterator[bytes]) -> Iterator[bytes]:
        for message in messages:
            time.sleep(seconds)
            yield message

    return fault
