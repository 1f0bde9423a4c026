"""HTTP to the daemon, over its unix socket or TCP: requests and their answers, failures as `pachmount.errors`.

Built on http.client: importing requests would cost more than everything else that `pachmount status` does.
"""

from __future__ import annotations

import http.client
import json
import logging
import select
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from pachmount import errors
from pachmount.errors import DaemonUnreachableError, InternalError, PachmountError
from pachmount.glance import START_HINT, connect, not_answered, not_connected

CONNECT_TIMEOUT = 2.0
PIECE_BYTES = 1 << 20

log = logging.getLogger(__name__)


class Connection(http.client.HTTPConnection):
    """An HTTP connection over TCP."""

    start_hint = "start it there, or unset PACHMOUNT_URL and DEFAULT_SCHEMA"

    def open(self) -> socket.socket:
        """A connected socket; raises OSError."""
        return socket.create_connection((self.host, self.port), CONNECT_TIMEOUT)

    def connect(self) -> None:
        try:
            self.sock = self.open()
        except OSError as error:
            raise not_connected(error, self.start_hint) from error

    def another(self) -> Connection:
        """One more to the same daemon, not open yet."""
        return Connection(self.host, self.port)

    def usable(self, timeout: float) -> None:
        """Connect if needed (also when the other side has closed an idle connection); `timeout` holds from now on."""
        if self.sock is not None and select.select([self.sock], [], [], 0)[0]:
            self.close()
        if self.sock is None:
            self.connect()
        self.sock.settimeout(timeout)


class UnixConnection(Connection):
    """The same over a unix socket."""

    start_hint = START_HINT

    def __init__(self, socket_path: str) -> None:
        super().__init__("localhost")
        self._socket_path = socket_path

    def another(self) -> Connection:
        return UnixConnection(self._socket_path)

    def open(self) -> socket.socket:
        return connect(self._socket_path, CONNECT_TIMEOUT)


class Transport:
    """Requests to one daemon over a keep-alive connection, by one thread at a time; `headers` go with each."""

    def __init__(self, connection: Connection, headers: Mapping[str, str]) -> None:
        self._connection = connection
        self._headers = dict(headers)

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        self._connection.close()

    def send(
        self,
        method: str,
        route: str,
        timeout: float,
        *,
        query: Mapping[str, Any] | None = None,
        body: str | None = None,
    ) -> Any:
        """The JSON of an answer, None if it is empty; `timeout` (seconds) is the longest wait for a part of it.

        Raises what the daemon answers, DaemonNotRunningError, DaemonUnreachableError, InternalError.
        """
        started = time.monotonic()
        what = f"{method} {route}"
        try:
            self._connection.usable(timeout)
            target = f"{route}?{urlencode(query, doseq=True)}" if query else route
            data = body.encode() if body is not None else None
            self._connection.request(method, target, data, self._headers)
            response = self._connection.getresponse()
            content = response.read()
        except PachmountError:
            raise
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise not_answered(error, what, timeout) from error
        log.debug("%s: %d in %.0f ms", what, response.status, (time.monotonic() - started) * 1000)
        if response.status != http.client.OK:
            raise _error_of(response.status, content, what)
        try:
            return json.loads(content) if content else None
        except ValueError as error:
            raise InternalError(f"the daemon answered {what} with something else than JSON") from error

    def pieces(self, route: str, query: Mapping[str, str], byte_range: str, timeout: float) -> Iterator[bytes]:
        """The body that GET of a route answers, over a connection of its own which ends with the iterator.

        `byte_range` is the header Range; "" for none. Raises as `send` does, with the first piece or a later one.
        """
        what = f"GET {route}"
        headers = {**self._headers, "Range": byte_range} if byte_range else self._headers
        connection = self._connection.another()
        try:
            connection.usable(timeout)
            connection.request("GET", f"{route}?{urlencode(query)}", headers=headers)
            response = connection.getresponse()
            if response.status not in (http.client.OK, http.client.PARTIAL_CONTENT):
                raise _error_of(response.status, response.read(), what)
            left = response.length or 0
            while left:
                piece = response.read(min(left, PIECE_BYTES))
                if not piece:
                    raise DaemonUnreachableError("the file was cut off", f"{left} bytes are missing", "try again")
                left -= len(piece)
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise not_answered(error, what, timeout) from error
        finally:
            connection.close()


def _error_of(status: int, content: bytes, request: str) -> PachmountError:
    try:
        data = json.loads(content)
    except ValueError:
        data = None
    if isinstance(data, dict) and "error" in data:
        return errors.from_dict(data)
    why = content.decode(errors="replace").strip()
    return PachmountError(f"the daemon refused {request} with status {status}", why)
