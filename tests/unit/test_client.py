"""The daemon client over a real unix socket, against a server that answers as told."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pachmount import glance
from pachmount.api import schema
from pachmount.client import DaemonClient
from pachmount.errors import DaemonNotRunningError, DaemonUnreachableError, InternalError, NotFoundError, PachmountError

Exchange = Callable[..., tuple[DaemonClient, list[bytes]]]


def _answer(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _whole_request(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as stream:
        head = b"".join(iter(stream.readline, b"\r\n"))
        length = re.search(rb"(?i)content-length: (\d+)", head)
        return head + b"\r\n" + (stream.read(int(length[1])) if length else b"")


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    """A client whose next requests get the given raw answers; and the list of requests as they were received."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    threads: list[threading.Thread] = []
    clients: list[DaemonClient] = []

    def start(*answers: bytes) -> tuple[DaemonClient, list[bytes]]:
        received: list[bytes] = []

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    received.append(_whole_request(connection))
                    connection.sendall(answer)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        clients.append(DaemonClient(tmp_path / "s"))
        return clients[-1], received

    yield start
    for client in clients:
        client.close()
    for thread in threads:
        thread.join()
    listener.close()


def test_get_sends_our_header_and_reads_the_model(exchange: Exchange) -> None:
    client, received = exchange(_answer(b'{"status": "running"}'))
    assert client.health().status == "running"
    assert received[0].startswith(b"GET /health HTTP/1.1\r\n")
    assert schema.CLIENT_HEADER.encode().lower() in received[0].lower()


def test_one_connection_serves_many_requests(exchange: Exchange) -> None:
    client, received = exchange(_answer(b'{"status": "running"}'), _answer(b"[]"))
    client.health()
    assert client.repos() == []
    assert len(received) == 2


def test_put_sends_json(exchange: Exchange) -> None:
    client, received = exchange(_answer(b'{"mounted": [], "unmounted": []}'))
    client.mount([schema.MountEntry(name="n", repo="r")])
    assert json.loads(received[0].partition(b"\r\n\r\n")[2])["mounts"][0]["repo"] == "r"


def test_query_is_quoted(exchange: Exchange) -> None:
    page = json.dumps({"source": "s", "commit": "c", "files": [], "next": ""}).encode()
    client, received = exchange(_answer(page))
    client.files("images@master:/a b&c", after="/x", number=5)
    assert b"source=images%40master%3A%2Fa+b%26c" in received[0]
    assert b"number=5" in received[0]


def test_pages_are_followed_to_the_end(exchange: Exchange) -> None:
    pages = [{"source": "s", "commit": "c", "files": [], "next": mark} for mark in ("/a", "/b", "")]
    client, received = exchange(*(_answer(json.dumps(page).encode()) for page in pages))
    assert len(list(client.file_pages("images@master"))) == 3
    assert b"after=%2Fb" in received[2]


def test_null_is_an_empty_list(exchange: Exchange) -> None:
    client, _ = exchange(_answer(b"null"))
    assert client.projects() == []


def test_error_answers_become_exceptions(exchange: Exchange) -> None:
    body = json.dumps(NotFoundError("no repo x", "really", "pachmount list").to_dict()).encode()
    client, _ = exchange(_answer(body, "404 Not Found"))
    with pytest.raises(NotFoundError) as caught:
        client.repos()
    assert (caught.value.what, caught.value.why, caught.value.hint) == ("no repo x", "really", "pachmount list")


def test_plain_text_errors_are_shown(exchange: Exchange) -> None:
    client, _ = exchange(_answer(b"404 page not found", "404 Not Found"))
    with pytest.raises(PachmountError, match="404 page not found"):
        client.repos()


@pytest.mark.parametrize("body", [b"not JSON", b'{"status": "walking"}'])
def test_nonsense_is_a_bug(exchange: Exchange, body: bytes) -> None:
    client, _ = exchange(_answer(body))
    with pytest.raises(InternalError):
        client.health()


def test_cut_off_answer(exchange: Exchange) -> None:
    client, _ = exchange(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    with pytest.raises(DaemonUnreachableError):
        client.health()


def test_no_socket_means_not_running(tmp_path: Path) -> None:
    with DaemonClient(tmp_path / "none") as client, pytest.raises(DaemonNotRunningError) as caught:
        client.status()
    assert caught.value.hint == "pachmount daemon start"


def test_stale_socket_means_not_running(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "s"))
    with DaemonClient(tmp_path / "s") as client, pytest.raises(DaemonNotRunningError):
        client.status()


def test_a_full_queue_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many threads that connect at once are more than the system lets wait."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        opened.enter_context(glance.connect(tmp_path / "s", 5))
        with pytest.raises(BlockingIOError):
            glance.connect(tmp_path / "s", 0.1)

        def accept(_seconds: float) -> None:
            opened.enter_context(listener.accept()[0])

        monkeypatch.setattr("pachmount.glance.time.sleep", accept)
        opened.enter_context(glance.connect(tmp_path / "s", 5))


def test_silence_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachmount.client.POLL_TIMEOUT", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        with DaemonClient(tmp_path / "s") as client, pytest.raises(DaemonUnreachableError, match="does not answer"):
            client.health()


def test_proxies_are_ignored(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:1")
    client, _ = exchange(_answer(b'{"status": "running"}'))
    assert client.health().status == "running"
