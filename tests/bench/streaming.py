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


def seconds_to_stream(mib: int) -> float:
    """The best of three, over a unix socket, without looking at the messages."""
    with tempfile.TemporaryDirectory(prefix="pachmount-bench-") as folder:
        socket = Path(folder) / "s"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.streaming", "--serve", str(socket), "--mib", str(mib)]
        )
        try:
            with connect(f"unix://{socket}") as channel:
                grpc.channel_ready_future(channel).result(20)  # type: ignore[no-untyped-call]
                call = channel.unary_stream("/bench/Stream")
                return seconds(lambda: sum(len(message) for message in call(b"")), 3)
        finally:
            process.kill()
            process.wait()


def _serve(socket: str, mib: int) -> None:
    message = bytes(_MESSAGE)

    def stream(_request: bytes, _context: Any) -> Iterator[bytes]:
        for _ in range(mib * 1024 * 1024 // _MESSAGE):
            yield message

    handler = grpc.method_handlers_generic_handler("bench", {"Stream": grpc.unary_stream_rpc_method_handler(stream)})
    server = grpc.server(ThreadPoolExecutor(2), handlers=[handler], options=[("grpc.max_send_message_length", -1)])
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    server.wait_for_termination()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench streaming", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        _serve(arguments.serve, arguments.mib)
        return 0
    report = Report("streaming")
    report.print_header()
    speed = arguments.mib * 1024 * 1024 / seconds_to_stream(arguments.mib) / 1e9
    report.add(Row(f"{arguments.mib} MiB in messages of 2 MiB", speed, "GB/s"))
    print(f"stored as {report.save()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
