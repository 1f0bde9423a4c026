"""A stream whose reader pauses takes little more off the wire than what was read."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest

from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, RepoRef

MESSAGE_BYTES = 19 << 20
"""What pachd puts into one message."""


class CountingProxy:
    """Passes TCP connections on to a port and counts what comes back from there."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.received = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            for source, sink in ((client, server), (server, client)):
                thread = threading.Thread(target=self._pump, args=(source, sink, source is server))
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, count: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                self.received += len(data) if count else 0
                sink.sendall(data)
        except OSError:
            return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the other side was quicker
            finally:
                end.close()
        for thread in self._threads:
            thread.join(10)


@pytest.mark.parametrize(("by_grpcio", "most"), [(True, 40 << 20), (False, 12 << 20)])
def test_a_reader_that_pauses_holds_the_server_back(by_grpcio: bool, most: int) -> None:
    def get_file(_request: bytes, _context: object) -> Iterator[bytes]:
        for _ in range(20):
            yield b"\x0a\x80\x80\xc0\x09" + bytes(MESSAGE_BYTES)

    server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.max_send_message_length", 20 << 20)])
    method = grpc.unary_stream_rpc_method_handler(get_file)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("pfs_v2.API", {"GetFile": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    proxy = CountingProxy(port)
    try:
        with PfsClient(f"grpc://127.0.0.1:{proxy.port}") as client:
            client._rpc._sockets.usable = not by_grpcio
            stream = client.open(CommitRef(RepoRef("default", "r"), "a" * 32), "/big")
            pieces = iter(stream)
            first = len(next(pieces))
            assert 0 < first <= MESSAGE_BYTES
            settled, deadline = -1, time.monotonic() + 20
            while settled != proxy.received and time.monotonic() < deadline:  # until nothing more arrives
                settled = proxy.received
                time.sleep(0.5)
            assert proxy.received < most
            assert len(next(pieces)) > 0
            stream.cancel()
    finally:
        server.stop(0).wait()
        proxy.close()
