"""A gRPC proxy on 127.0.0.1 for calls that change something: it strikes before, within or after one of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import grpc

from tests.integration.call_proxy import StatusError

THREADS = 64
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]

When = Literal["before", "within", "after"]
"""Before the cluster learns of the call; when half of a stream of requests has passed; when it has answered."""


class CommitProxy:
    """Passes all calls on to `target`; a context manager. Counts calls and the bytes of requests by method.

    `rewritten` changes the answers of some methods.
    """

    def __init__(self, target: str) -> None:
        self.calls: Counter[str] = Counter()
        self.sent_bytes: Counter[str] = Counter()
        self.rewritten: dict[str, Callable[[bytes], bytes]] = {}
        self._fault: tuple[str, When, Callable[[], None]] | None = None
        self._lock = threading.Lock()
        self._channel = grpc.insecure_channel(target.removeprefix("grpc://"), _OPTIONS)
        self._server = grpc.server(ThreadPoolExecutor(THREADS), handlers=[_Handlers(self._pass)], options=_OPTIONS)
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def __enter__(self) -> CommitProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait(10)
        self._channel.close()

    @property
    def address(self) -> str:
        return f"grpc://127.0.0.1:{self._port}"

    @property
    def struck(self) -> bool:
        return self._fault is None

    def strike(self, method: str, when: When, how: Callable[[], None]) -> None:
        """Do `how`, once, at the next call of `method`; it may raise a StatusError to end that call."""
        self._fault = method, when, how

    def heal(self) -> None:
        self._fault = None
        self.rewritten.clear()

    def _at(self, method: str, when: When) -> None:
        with self._lock:
            fault = self._fault
            if fault is None or fault[:2] != (method, when):
                return
            self._fault = None
        fault[2]()

    def _requests(self, method: str, requests: Iterator[bytes]) -> Iterator[bytes]:
        for number, request in enumerate(requests):
            with self._lock:
                self.sent_bytes[method] += len(request)
            if number == 1:
                self._at(method, "within")
            yield request

    def _pass(self, path: str, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        method = path.rpartition("/")[2]
        self.calls[method] += 1
        metadata = tuple((key, value) for key, value in context.invocation_metadata() if key == "authn-token")
        failures: list[StatusError] = []

        def guarded() -> Iterator[bytes]:
            try:
                yield from self._requests(method, requests)
            except StatusError as error:
                failures.append(error)
                upstream.cancel()

        upstream: Any = None
        try:
            self._at(method, "before")
            upstream = self._channel.stream_stream(path)(guarded(), metadata=metadata)
            context.add_callback(upstream.cancel)
            answers = []
            for original in upstream:
                answer = self.rewritten[method](original) if method in self.rewritten else original
                if method in ("SubscribeCommit", "WalkFile", "GetFile", "GetFileTAR", "DiffFile", "ListFile"):
                    yield answer
                else:
                    answers.append(answer)
            self._at(method, "after")
            yield from answers
        except StatusError as error:
            context.abort(error.code, error.text)
        except grpc.RpcError as error:
            if failures:
                context.abort(failures[0].code, failures[0].text)
            elif context.is_active():
                context.abort(error.code(), error.details())
        finally:
            if upstream is not None:
                upstream.cancel()


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, serve: Callable[[str, Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]) -> None:
        self._serve = serve

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        path = details.method
        return grpc.stream_stream_rpc_method_handler(lambda requests, context: self._serve(path, requests, context))
