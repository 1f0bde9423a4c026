"""A small in-process gRPC server whose answers each test decides."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pachmount.pfs.channel  # noqa: F401  # prepares the environment before grpc is imported

# isort: split
import grpc

Behaviour = Callable[..., Any]


class FakeServer:
    """Methods are added by path: `unary` and `stream` (server streams) get bytes and give bytes, `upload` an iterator.

    `metadata` is what came with each call, in order.
    """

    def __init__(self) -> None:
        self.handlers: dict[str, grpc.RpcMethodHandler] = {}
        self.calls: list[str] = []
        self.metadata: list[list[tuple[str, str]]] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        self.calls.append(details.method.rpartition("/")[2])
        self.metadata.append([(key, str(value)) for key, value in details.invocation_metadata])
        return self.handlers.get(details.method.rpartition("/")[2])

    def unary(self, name: str, behaviour: Behaviour) -> None:
        self.handlers[name] = grpc.unary_unary_rpc_method_handler(behaviour)

    def stream(self, name: str, behaviour: Behaviour) -> None:
        self.handlers[name] = grpc.unary_stream_rpc_method_handler(behaviour)

    def upload(self, name: str, behaviour: Behaviour) -> None:
        self.handlers[name] = grpc.stream_unary_rpc_method_handler(behaviour)


@contextlib.contextmanager
def serving(fake: FakeServer, address: str, credentials: grpc.ServerCredentials | None = None) -> Iterator[int]:
    """Serve at `address` (gRPC's form: `unix:/path`, `127.0.0.1:0`) while the block runs; gives the port."""
    with futures.ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool, options=[("grpc.so_reuseport", 0), ("grpc.max_send_message_length", 64 << 20)])
        server.add_generic_rpc_handlers((fake,))
        port = (
            server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
        )
        server.start()
        try:
            yield port
        finally:
            server.stop(0).wait()


def unix_address(directory: Path) -> str:
    return f"unix://{directory}/s"


def refusing(code: grpc.StatusCode, text: str) -> Behaviour:
    def behaviour(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(code, text)
        raise AssertionError("abort returned")

    return behaviour
