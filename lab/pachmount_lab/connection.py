"""HTTP to the daemon, over its unix socket or TCP: asynchronous, in pieces, no faster than they are taken.

Not jupyter_server's client for unix sockets: that one redirects every AsyncHTTPClient of the process to sockets. Not
tornado's AsyncHTTPClient either: its requests cannot be given up, and it reads as fast as it can.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient

from pachmount.client import DEFAULT_PORT
from pachmount.errors import ConfigurationError, DaemonNotRunningError, DaemonUnreachableError, UsageError

CONNECT_SECONDS = 5.0
PIECE_BYTES = 64 << 10
MAX_WHOLE_BYTES = 64 << 20
"""The longest answer that is read as a whole: a page of 10,000 entries with names of 4 KiB has 40 MiB."""
_NO_LIMIT = 1 << 62


@dataclass(frozen=True)
class Address:
    """Where a daemon listens: at a unix socket, or over TCP, where it asks for the token in a file ("" = none)."""

    socket: Path | None = None
    host: str = ""
    port: int = 0
    token_file: str = ""

    @classmethod
    def of_url(cls, url: str, token_file: str) -> Address:
        """That of a daemon at `http://HOST:PORT`. Raises UsageError."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
            raise UsageError(f"cannot use the daemon's URL '{url}'", "it is http://HOST:PORT", "see PACHMOUNT_URL")
        return cls(host=parts.hostname, port=parts.port or DEFAULT_PORT, token_file=token_file)

    def __str__(self) -> str:
        return str(self.socket) if self.socket is not None else f"http://{self.host}:{self.port}"

    async def connect(self) -> IOStream:
        """A connection to it. Raises DaemonNotRunningError if nothing listens, DaemonUnreachableError."""
        try:
            return await asyncio.wait_for(self._stream(), CONNECT_SECONDS)
        except StreamClosedError as error:
            raise self._refused(error.real_error or error) from error
        except OSError as error:
            raise self._refused(error) from error
        except asyncio.TimeoutError as error:
            why = f"it did not take a connection within {CONNECT_SECONDS:.0f} s"
            raise DaemonUnreachableError("the daemon does not answer", why, "pachmount doctor") from error

    def authorization(self) -> dict[str, str]:
        """The header with the token. Raises ConfigurationError."""
        if not self.token_file:
            return {}
        try:
            token = Path(self.token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            what = f"cannot read token file '{self.token_file}'"
            raise ConfigurationError(what, str(error), "see PACHMOUNT_TOKEN_FILE") from error
        return {"Authorization": f"Bearer {token}"}

    async def _stream(self) -> IOStream:
        if self.socket is None:
            return await TCPClient().connect(self.host, self.port)
        stream = IOStream(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            await stream.connect(os.fspath(self.socket))
        except BaseException:
            stream.close()
            raise
        return stream

    def _refused(self, error: BaseException) -> DaemonNotRunningError | DaemonUnreachableError:
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            return DaemonNotRunningError("the daemon is not running", f"nothing listens at {self}")
        why = getattr(error, "strerror", None) or str(error)
        return DaemonUnreachableError(f"cannot connect to the daemon at {self}", why, "pachmount doctor")


@dataclass(frozen=True)
class Request:
    """What to ask the daemon. `target` is path and query, as they go over the wire."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.target.partition('?')[0]}"


class Answer(HTTPMessageDelegate):
    """An answer of the daemon, of which status and headers are there; the body comes in pieces."""

    def __init__(self, request: Request) -> None:
        self.status = 0
        self.headers = HTTPHeaders()
        self._request = request
        self._begun = asyncio.Event()
        self._is_complete = False
        self._is_unwanted = False
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, read no faster than it is taken. Raises DaemonUnreachableError if it ends early."""
        while (piece := await self._pieces.get()) is not None:
            yield piece
        if not self._is_complete:
            raise self._cut_off()

    async def whole(self, limit: int = MAX_WHOLE_BYTES) -> bytes:
        """All of the body. Raises DaemonUnreachableError if it ends early, or does not end before `limit` bytes."""
        body = bytearray()
        async for piece in self.pieces():
            body += piece
            if len(body) > limit:
                why = f"{self._request} has more than {limit >> 20} MiB"
                raise DaemonUnreachableError("the daemon's answer is too long", why)
        return bytes(body)

    async def begin(self) -> None:
        """Wait for status and headers. Raises DaemonUnreachableError."""
        await self._begun.wait()
        if not self.status:
            raise self._cut_off()

    async def read_from(self, connection: HTTP1Connection) -> None:
        """Read it all, as it is taken."""
        with contextlib.suppress(StreamClosedError):  # what has come by then tells whether that is an error
            await connection.read_response(self)
        self._begun.set()
        if not self._is_unwanted:
            await self._pieces.put(None)

    def give_up(self) -> None:
        """Let the reading go on to its end without anybody who takes what comes; nothing is kept.

        It must not be cancelled: tornado logs whatever ends a call of its delegate as an error.
        """
        self._is_unwanted = True
        while not self._pieces.empty():
            self._pieces.get_nowait()

    # what the connection calls

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        assert isinstance(start_line, ResponseStartLine)  # noqa: S101  # a client's connection
        if start_line.code >= 200:
            self.status, self.headers = start_line.code, headers
            self._begun.set()

    async def data_received(self, chunk: bytes) -> None:  # tornado waits for it
        if not self._is_unwanted:
            await self._pieces.put(chunk)

    def finish(self) -> None:
        self._is_complete = True

    def on_connection_close(self) -> None:
        self._begun.set()

    def _cut_off(self) -> DaemonUnreachableError:
        why = f"{self._request} was cut off"
        return DaemonUnreachableError("lost the connection to the daemon", why, "pachmount status")


@contextlib.asynccontextmanager
async def asking(address: Address, request: Request) -> AsyncIterator[Answer]:
    """Ask the daemon; its answer, as soon as it begins. The connection ends with the block, read to its end or not.

    Raises DaemonNotRunningError, with nothing sent, and DaemonUnreachableError. Nothing here has a deadline but the
    connecting.
    """
    stream = await address.connect()
    try:
        parameters = HTTP1ConnectionParameters(no_keep_alive=True, chunk_size=PIECE_BYTES, max_body_size=_NO_LIMIT)
        connection = HTTP1Connection(stream, is_client=True, params=parameters)
        answer = Answer(request)
        headers = HTTPHeaders({"Host": "localhost", **request.headers, **address.authorization()})
        if request.body is not None:
            headers["Content-Length"] = str(len(request.body))
        reading = asyncio.ensure_future(_exchange(connection, request, headers, answer))
        try:
            await answer.begin()
            yield answer
        finally:
            answer.give_up()
            stream.close()
            await reading
    finally:
        stream.close()


async def _exchange(connection: HTTP1Connection, request: Request, headers: HTTPHeaders, answer: Answer) -> None:
    start_line = RequestStartLine(request.method, request.target, "")
    with contextlib.suppress(StreamClosedError):  # a daemon that refuses a long body answers and closes
        connection.write_headers(start_line, headers, request.body or None)
        connection.finish()
    await answer.read_from(connection)
