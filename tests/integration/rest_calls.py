"""Calls of the REST API on the socket or over TCP, with everything of the answer that a client sees."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.integration.box import Box

TRANSPORTS = ("unix", "tcp")


class Told(NamedTuple):
    """An answer; the header's value is "" where there is none."""

    status: int
    type: str
    sniffing: str
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Call = Callable[..., Told]


def caller(box: Box, transport: str) -> Call:
    """A function that calls `(method, path, body=None, headers={})`: `body` is an object, or a text sent as it is."""
    url = urlsplit(box.status()["listen"])
    token = box.places.token_file.read_text().strip()

    def call(method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Told:
        connection = http.client.HTTPConnection(url.netloc, timeout=60)
        if transport == "unix":
            connection.sock = unix_connection(box.places.socket)
        more = {"Authorization": f"Bearer {token}"} if transport == "tcp" else {}
        return send(connection, method, path, body, {**more, **(headers or {})})

    return call


def unix_connection(path: Path) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(60)
    connected.connect(str(path))
    return connected


def send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Told:
    """One request on a connection, which is closed after it."""
    text = body if isinstance(body, str | None) else json.dumps(body)
    try:
        connection.request(method, path, text, headers or {})
        answer = connection.getresponse()
        kind, sniffing = (answer.getheader(name) or "" for name in ("Content-Type", "X-Content-Type-Options"))
        return Told(answer.status, kind, sniffing, answer.read().decode())
    finally:
        connection.close()
