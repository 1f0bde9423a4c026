"""The REST API as somebody else's client sees it: requests over the unix socket, nothing of ours in between."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from tests.integration.box import Box


class _Connection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


class _Pool(HTTPConnectionPool):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def _new_conn(self) -> _Connection:
        return _Connection(self._path)


class _UnixAdapter(HTTPAdapter):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._unix_pool = _Pool(path)

    def get_connection_with_tls_context(self, *_args: object, **_options: object) -> _Pool:
        return self._unix_pool


@pytest.fixture
def web(box: Box) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        adapter = _UnixAdapter(str(box.places.socket))
        session.mount("http://", adapter)
        yield session
        adapter._unix_pool.close()


def test_mount_read_and_unmount(box: Box, web: requests.Session) -> None:
    repo = box.repo()
    box.put(repo, {"/a/b.txt": b"hello"})
    entry = {"name": "there", "repo": repo, "mode": "ro"}
    answer = web.put("http://daemon/_mount", json={"mounts": [entry]}, timeout=30)
    assert answer.status_code == 200, answer.text
    mounted = answer.json()["mounted"]
    assert [(m["name"], m["state"], m["files"]) for m in mounted] == [("there", "mounted", None)]
    assert box.out("cat $1", box.mount_dir / "there" / "a" / "b.txt") == "hello"
    refused = web.put("http://daemon/_mount", json={"mounts": [{**entry, "branch": "nope"}]}, timeout=30)
    assert refused.status_code == 400
    assert refused.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert f'branch "nope" not found in repo default/{repo}' in refused.text
    assert web.put("http://daemon/_unmount", json={"mounts": ["there"]}, timeout=30).json()["mounted"] == []
    assert web.get("http://daemon/mounts", timeout=30).json()["mounted"] == []
