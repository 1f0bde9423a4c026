"""Somebody else's client of the REST API: `requests`, over the unix socket or over TCP, nothing of ours in between."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from tests.integration.box import Box

TIMEOUT = 60
Transport = Literal["socket", "tcp"]
SERVED = {"PACHMOUNT_LISTEN": "127.0.0.1:0"}
"""The environment of a daemon that can be reached over both."""


class _Connection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise


class _Pool(HTTPConnectionPool):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def _new_conn(self) -> _Connection:
        return _Connection(self._path)


class _UnixAdapter(HTTPAdapter):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.pool = _Pool(path)

    def get_connection_with_tls_context(self, *_args: object, **_options: object) -> _Pool:
        return self.pool


class Rest:
    """GET and PUT at one server; `body` is an object sent as JSON, or text sent as it is."""

    def __init__(self, session: requests.Session, url: str) -> None:
        self._session = session
        self._url = url

    def get(self, route: str) -> requests.Response:
        return self._session.get(self._url + route, timeout=TIMEOUT)

    def put(self, route: str, body: Any = None) -> requests.Response:
        if isinstance(body, str):
            return self._session.put(self._url + route, data=body.encode(), timeout=TIMEOUT)
        return self._session.put(self._url + route, json=body, timeout=TIMEOUT)

    def ask_mount(self, *entries: dict[str, Any]) -> requests.Response:
        """PUT /_mount."""
        return self.put("/_mount", {"mounts": list(entries)})

    def mount(self, name: str, repo: str, **more: Any) -> dict[str, Any]:
        """Mount one thing, which must succeed; its entry in the answer."""
        answer = self.ask_mount({"name": name, "repo": repo, **more})
        assert answer.status_code == 200, answer.text
        return next(entry for entry in answer.json()["mounted"] if entry["name"] == name)

    def unmount(self, *names: str) -> requests.Response:
        """PUT /_unmount."""
        return self.put("/_unmount", {"mounts": list(names)})

    def mounted(self) -> dict[str, dict[str, Any]]:
        """The mounts that GET /mounts tells of, by name."""
        answer = self.get("/mounts")
        assert answer.status_code == 200, answer.text
        return {entry["name"]: entry for entry in answer.json()["mounted"]}


@contextlib.contextmanager
def over_socket(path: Path) -> Iterator[Rest]:
    with requests.Session() as session:
        session.trust_env = False
        adapter = _UnixAdapter(str(path))
        session.mount("http://", adapter)
        yield Rest(session, "http://daemon")
        adapter.pool.close()


@contextlib.contextmanager
def over_tcp(url: str, token: str = "") -> Iterator[Rest]:
    with requests.Session() as session:
        session.trust_env = False
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
        yield Rest(session, url)


@contextlib.contextmanager
def client_of(box: Box, transport: Transport) -> Iterator[Rest]:
    """A client of a box's daemon, which was started with the environment SERVED."""
    if transport == "socket":
        with over_socket(box.places.socket) as rest:
            yield rest
    else:
        with over_tcp(str(box.status()["listen"]), box.places.token_file.read_text().strip()) as rest:
            yield rest
