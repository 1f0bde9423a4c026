"""A TCP proxy on 127.0.0.1 whose wire can be slowed, stalled, cut and reset while a test runs. Counts what passes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

T = TypeVar("T")

PIECE = 64 << 10
TICK = 0.005
CLOSE_SECONDS = 10.0

Cut = Literal["reset", "close", "stall"]


class ByteProxy:
    """Passes connections on to `target` (host:port or grpc://host:port); a context manager.

    Faults are attributes, switched at any time and felt by what passes from then on, of the answers (the bytes from the
    target) unless said otherwise: `delay` (s) for each piece of up to 64 KiB, `bandwidth` (bytes/s), `slow_start` (s)
    before the first byte of each new connection, `stalled` (nothing passes, in both directions, nothing is lost),
    `silent` (new connections are accepted, and that is all). `heal` ends them all.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("grpc://").rpartition(":")
        self._target = host, int(port)
        self.delay = 0.0
        self.bandwidth = 0.0
        self.slow_start = 0.0
        self.stalled = False
        self.silent = False
        self.connections = 0
        self.up_bytes = 0
        self.down_bytes = 0
        self.cuts = 0
        self._cut_at: tuple[int, Cut] | None = None
        self._links: set[_Link] = set()
        self._port = 0
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="byte-proxy", daemon=True)
        self._thread.start()
        self.accept()

    def __enter__(self) -> ByteProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        return f"grpc://127.0.0.1:{self._port}"

    @property
    def open_connections(self) -> int:
        return len(self._links)

    def cut_after(self, size: int, how: Cut) -> None:
        """Once `size` more bytes of answers have passed, end the connection at hand: with RST, or with FIN, or leave it
        open and pass nothing more ("stall": half open, for ever). Happens once; other connections are left alone.
        """
        self._cut_at = self.down_bytes + size, how

    def reset(self) -> None:
        """Reset all connections there are."""
        self._call(lambda: [link.reset() for link in list(self._links)])

    def abandon(self) -> None:
        """Nothing passes on the connections there are, for ever and without a sign: a router forgot them."""
        self._call(lambda: [link.abandon() for link in self._links])

    def refuse(self) -> None:
        """Close the port: connections are refused; those there are go on."""
        self._run(self._stop_listening())

    def accept(self) -> None:
        """Listen, again on the same port."""
        if self._server is None:
            self._run(self._listen())

    def heal(self) -> None:
        """End all faults (connections that were cut stay cut)."""
        self.delay = self.bandwidth = self.slow_start = 0.0
        self.stalled = self.silent = False
        self._cut_at = None
        self.accept()

    def close(self) -> None:
        self.heal()
        self.refuse()
        self.reset()
        self._run(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)
        self._loop.close()

    def _call(self, function: Callable[[], Any]) -> None:
        async def call() -> None:
            function()

        self._run(call())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CLOSE_SECONDS)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=PIECE)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _finish(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = _Link(writer)
        self._links.add(link)
        try:
            while self.silent:
                await asyncio.sleep(TICK)
            there = await asyncio.open_connection(*self._target, limit=PIECE)
            link.writers.append(there[1])
            if self.slow_start:
                await asyncio.sleep(self.slow_start)
            await asyncio.gather(self._pump_up(link, reader, there[1]), self._pump_down(link, there[0], writer))
        except (OSError, asyncio.CancelledError):
            pass  # one side is gone: the other learns of it below
        finally:
            self._links.discard(link)
            for each in link.writers:
                each.close()

    async def _pump_up(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(PIECE):
            while self.stalled:
                await asyncio.sleep(TICK)
            if link.abandoned:
                continue
            self.up_bytes += len(piece)
            sink.write(piece)
            await sink.drain()
        link.ended = True
        sink.close()

    async def _pump_down(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(PIECE):
            if self.delay:
                await asyncio.sleep(self.delay)
            while (self.stalled or link.abandoned) and not link.ended:
                await asyncio.sleep(TICK)
            how: Cut | None = None
            if self._cut_at is not None and self.down_bytes + len(piece) >= self._cut_at[0]:
                (at, how), self._cut_at = self._cut_at, None
                piece = piece[: max(0, at - self.down_bytes)]
                self.cuts += 1
            self.down_bytes += len(piece)
            sink.write(piece)
            if how == "reset":
                link.reset()
            elif how == "stall":
                link.abandon()
            elif how == "close":
                break
            await sink.drain()
            if self.bandwidth:
                await asyncio.sleep(len(piece) / self.bandwidth)
        sink.close()


class _Link:
    """One connection: the writers of both sides."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writers = [writer]
        self.abandoned = False
        self.ended = False

    def abandon(self) -> None:
        self.abandoned = True

    def reset(self) -> None:
        for writer in self.writers:
            raw = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
