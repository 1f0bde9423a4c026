"""How fast bare grpcio streams messages of the size that GetFile sends, from one process to another."""

from __future__ import annotations

import argparse
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
    with tempfile.TemporaryDirectory(prefix="pachmount-bench-") as folder:
        socket = Path(folder) / "s"
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.bench.streaming",
                "--serve",
                str(socket),
                "--messages",
                str(messages),
                "--size",
                str(size),
            ]
        )
        try:
            with connect(f"unix://{socket}") as channel:
                grpc.channel_ready_future(channel).result(20)  # type: ignore[no-untyped-call]
                call = channel.unary_stream("/bench/Stream")
                return seconds(lambda: sum(len(message) for message in call(b"")), 3)
        finally:
            process.kill()
            process.wait()


def _serve(socket: str, messages: int, size: int) -> None:
    message = bytes(size)

    def stream(_request: bytes, _context: Any) -> Iterator[bytes]:
        for _ in range(messages):
            yield message

    handler = grpc.method_handlers_generic_handler("bench", {"Stream": grpc.unary_stream_rpc_method_handler(stream)})
    server = grpc.server(ThreadPoolExecutor(2), handlers=[handler], options=[("grpc.max_send_message_length", -1)])
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
