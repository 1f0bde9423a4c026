"""How fast bare grpcio streams messages of the size that GetFile sends, from one process to another."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from tests.bench.report import Report, Row, seconds
from tests.localpfs.servers import connect

_MESSAGE = 2 * 1024 * 1024  # what service_files.py sends


def seconds_to_stream(messages: int, size: int = _MESSAGE) -> float:
    """The best of three, over a unix socket, without looking at the messages."""
    with _serving(messages, size) as channel:
        call = channel.unary_stream("/bench/Stream")
        return seconds(lambda: sum(len(message) for message in call(b"")), 3)


def seconds_to_upload(messages: int, size: int) -> float:
    """The same in the other direction."""
    message = bytes(size)
    with _serving(messages, size) as channel:
        call = channel.stream_unary("/bench/Upload")
        return seconds(lambda: call(itertools.repeat(message, messages)), 3)


@contextlib.contextmanager
def _serving(messages: int, size: int) -> Iterator[grpc.Channel]:
    with tempfile.TemporaryDirectory(prefix="pachmount-bench-") as folder:
        socket = Path(folder) / "s"
        numbers = ["--messages", str(messages), "--size", str(size)]
        process = subprocess.Popen([sys.executable, "-m", "tests.bench.streaming", "--serve", str(socket), *numbers])
        try:
            with connect(f"unix://{socket}") as channel:
                grpc.channel_ready_future(channel).result(20)  # type: ignore[no-untyped-call]
                yield channel
        finally:
            process.kill()
            process.wait()


def _serve(socket: str, messages: int, size: int) -> None:
    message = bytes(size)

    def stream(_request: bytes, _context: Any) -> Iterator[bytes]:
        for _ in range(messages):
            yield message

    def upload(pieces: Iterator[bytes], _context: Any) -> bytes:
        return b"%d" % sum(len(piece) for piece in pieces)

    methods = {
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
        "Upload": grpc.stream_unary_rpc_method_handler(upload),
    }
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    handlers = [grpc.method_handlers_generic_handler("bench", methods)]
    server = grpc.server(ThreadPoolExecutor(2), handlers=handlers, options=options)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    server.wait_for_termination()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench streaming", description=__doc__)
    parser.add_argument("--messages", type=int, default=512)
    parser.add_argument("--size", type=int, default=_MESSAGE)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        _serve(arguments.serve, arguments.messages, arguments.size)
        return 0
    report = Report("streaming")
    report.print_header()
    for messages, size in ((arguments.messages, arguments.size), (100_000, 100)):
        took = seconds_to_stream(messages, size)
        report.add(Row(f"{messages} messages of {size} bytes", messages * size / took / 1e9, "GB/s"))
        report.add(Row("  per message", took / messages * 1e6, "us"))
    print(f"stored as {report.save()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
