"""How a gRPC method is made of a plain function: messages in and out, refusals as statuses, bugs as INTERNAL."""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import Message

from pachmount.errors import DataError, StoreDamagedError
from pachmount.localpfs.database import full
from pachmount.localpfs.status import Code, Refusal

Context = grpc.ServicerContext
if TYPE_CHECKING:  # generic for the type checker only
    Handler = grpc.RpcMethodHandler[Any, Any]
    Service = grpc.GenericRpcHandler[Any, Any]
Answer = Message | bytes  # bytes are a message that is already serialised

_log = logging.getLogger(__name__)


def unary(function: Callable[[Any, Context], Answer], request: type[Message]) -> Handler:
    """One request, one answer."""

    def call(message: Any, context: Context) -> Answer | None:
        with _statuses(context):
            return function(message, context)
        return None

    return grpc.unary_unary_rpc_method_handler(call, request.FromString, _serialize)


def stream(function: Callable[[Any, Context], Iterable[Answer]], request: type[Message]) -> Handler:
    """One request, a stream of answers."""

    def call(message: Any, context: Context) -> Iterator[Answer]:
        with _statuses(context):
            yield from function(message, context)

    return grpc.unary_stream_rpc_method_handler(call, request.FromString, _serialize)


def client_stream(function: Callable[[Iterator[Any], Context], Answer], request: type[Message]) -> Handler:
    """A stream of requests, one answer."""

    def call(messages: Iterator[Any], context: Context) -> Answer | None:
        with _statuses(context):
            return function(messages, context)
        return None

    return grpc.stream_unary_rpc_method_handler(call, request.FromString, _serialize)


def both_stream(function: Callable[[Iterator[Any], Context], Iterable[Answer]], request: type[Message]) -> Handler:
    """Streams in both directions."""

    def call(messages: Iterator[Any], context: Context) -> Iterator[Answer]:
        with _statuses(context):
            yield from function(messages, context)

    return grpc.stream_stream_rpc_method_handler(call, request.FromString, _serialize)


def refuse(status: Refusal) -> Handler:
    """A method that always ends with this status."""

    def call(_: Iterator[bytes], context: Context) -> Iterator[bytes]:
        context.abort(status.code, status.text)

    return grpc.stream_stream_rpc_method_handler(call, None, None)  # on the wire a single message is a stream of one


def inside(handler: Handler, manager: Callable[[Context], AbstractContextManager[object]]) -> Handler:
    """The same method, with each of its calls run inside of the context manager that its context gives."""
    kind = ("stream" if handler.request_streaming else "unary", "stream" if handler.response_streaming else "unary")
    inner: Callable[..., Any] = getattr(handler, "_".join(kind))

    def once(request: Any, context: Context) -> Any:
        with manager(context):
            return inner(request, context)

    def streaming(request: Any, context: Context) -> Iterator[Any]:
        with manager(context):
            yield from inner(request, context)

    make = getattr(grpc, f"{kind[0]}_{kind[1]}_rpc_method_handler")
    outer = streaming if handler.response_streaming else once
    made: Handler = make(outer, handler.request_deserializer, handler.response_serializer)
    return made


def _serialize(answer: Answer) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


@contextmanager
def _statuses(context: Context) -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        context.abort(refusal.code, refusal.text)
    except grpc.RpcError:
        raise  # the client went away
    except Exception as error:  # noqa: BLE001 - the last place before the wire; the server has to live on
        if _is_full(error):
            context.abort(Code.RESOURCE_EXHAUSTED, f"no space left on the disk of the store: {error}")
        if isinstance(error, StoreDamagedError):  # the store as a whole, which therefore takes no changes
            context.abort(Code.FAILED_PRECONDITION, f"{error}; repair it with: {error.hint}")
        if isinstance(error, DataError):
            _log.error("%s; look with: pachmount serve --check", error)
            context.abort(Code.DATA_LOSS, f"{error}; look with: pachmount serve --check")
        if isinstance(error, OSError | sqlite3.OperationalError):
            _log.error("the store cannot be read or written: %s", error)
            context.abort(Code.INTERNAL, f"the store cannot be read or written: {error}")
        if not context.is_active():
            return  # nobody is there to be told, and what went wrong is that they left
        _log.exception("a call failed")
        context.abort(Code.INTERNAL, f"bug in the embedded server: {type(error).__name__}: {error}")


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, sqlite3.OperationalError) and full(error)
