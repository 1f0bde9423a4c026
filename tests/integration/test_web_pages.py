"""Who is ours: what a page in a browser, or a neighbour, can send is refused on every listener, and changes nothing.

The table is the one in docs/security.md.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.box import Box, running_box

OURS, REFUSED, NO_METHOD, NO_ROUTE, BAD = "2", "403", "405", "404", "400"
HOST = "<ours>"
"""Stands for the daemon's own address in the table."""

Lines = tuple[str, ...]
TABLE: dict[str, tuple[str, Lines, str]] = {
    "a program without Origin": ("PUT /_unmount_all", (), OURS),
    "a page of the very scheme, host and port": ("PUT /_unmount_all", ("Origin: http://<ours>",), OURS),
    "a page of another site": ("PUT /_unmount_all", ("Origin: https://evil.example",), REFUSED),
    "a page of another port of this machine": ("PUT /_unmount_all", ("Origin: http://127.0.0.1:1",), REFUSED),
    "a page of localhost without a port": ("PUT /_unmount_all", ("Origin: http://localhost",), REFUSED),
    "a page of the same host with another scheme": ("PUT /_unmount_all", ("Origin: https://<ours>",), REFUSED),
    "a file, a sandboxed frame": ("PUT /_unmount_all", ("Origin: null",), REFUSED),
    "an origin with a path": ("PUT /_unmount_all", ("Origin: http://<ours>/",), REFUSED),
    "an origin with a user": ("PUT /_unmount_all", ("Origin: http://<ours>@evil.example",), REFUSED),
    "an empty origin": ("PUT /_unmount_all", ("Origin:",), REFUSED),
    "two origins": ("PUT /_unmount_all", ("Origin: http://<ours>", "Origin: https://evil.example"), REFUSED),
    "Sec-Fetch-Site: cross-site, no Origin": ("PUT /_unmount_all", ("Sec-Fetch-Site: cross-site",), REFUSED),
    "Sec-Fetch-Site: same-site (another port)": ("PUT /_unmount_all", ("Sec-Fetch-Site: same-site",), REFUSED),
    "an image of another site": ("GET /mounts", ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: image"), REFUSED),
    "a simple POST of text": (
        "POST /_unmount_all",
        ("Content-Type: text/plain", "Origin: https://e.example"),
        NO_METHOD,
    ),
    "a form": ("POST /_unmount_all", ("Content-Type: application/x-www-form-urlencoded",), NO_METHOD),
    "POST that means PUT": ("POST /_unmount_all", ("X-HTTP-Method-Override: PUT",), NO_METHOD),
    "a preflight": (
        "OPTIONS /_unmount_all",
        ("Origin: https://e.example", "Access-Control-Request-Method: PUT"),
        NO_METHOD,
    ),
    "HEAD": ("HEAD /mounts", (), NO_METHOD),
    "TRACE": ("TRACE /mounts", (), NO_METHOD),
    "a web socket of another site": (
        "GET /mounts",
        ("Origin: https://evil.example", "Connection: Upgrade", "Upgrade: websocket"),
        REFUSED,
    ),
    "an event source of another site": (
        "GET /mounts",
        ("Origin: https://evil.example", "Accept: text/event-stream"),
        REFUSED,
    ),
    "a GET where PUT changes something": ("GET /_unmount_all", (), NO_METHOD),
    "two slashes": ("PUT //_unmount_all", (), NO_ROUTE),
    "an encoded path": ("PUT /%5funmount_all", (), NO_ROUTE),
    "a path with dots": ("PUT /x/../_unmount_all", (), NO_ROUTE),
    "a path in upper case": ("PUT /_UNMOUNT_ALL", (), NO_ROUTE),
    "an absolute target": ("PUT http://<ours>/_unmount_all", (), NO_ROUTE),
}
HOSTS: dict[str, tuple[Lines, str]] = {
    "a name of somebody else's (DNS rebinding)": (("Host: evil.example",), REFUSED),
    "rebinding, and an origin that fits": (("Host: evil.example:80", "Origin: http://evil.example:80"), REFUSED),
    "our name and more": (("Host: 127.0.0.1.evil.example",), REFUSED),
    "a name with a dot at its end": (("Host: localhost.",), REFUSED),
    "a name in upper case": (("Host: LOCALHOST",), OURS),
    "an IPv6 literal": (("Host: [::1]:9002",), OURS),
    "an IPv6 literal with a zone": (("Host: [fe80::1%25lo]:80",), REFUSED),
    "an address that is none": (("Host: 127.1",), REFUSED),
    "an address in hex": (("Host: 0x7f000001",), REFUSED),
    "a user in Host": (("Host: localhost@evil.example",), BAD),
    "two hosts": (("Host: localhost", "Host: evil.example"), BAD),
    "no host": ((), BAD),
    "an allowed host": (("Host: hub.example",), OURS),
    "an allowed host behind TLS": (("Host: hub.example", "Origin: https://hub.example"), OURS),
    "an allowed host, another port": (("Host: hub.example", "Origin: https://hub.example:8443"), REFUSED),
}


@pytest.fixture(scope="module")
def box(fuse: None) -> Iterator[Box]:
    """A daemon without a token, as for clients of the original."""
    env = {"PACHMOUNT_LISTEN": "127.0.0.1:0", "PACHMOUNT_REQUIRE_TOKEN": "false"}
    with running_box({**env, "PACHMOUNT_ALLOWED_HOSTS": "hub.example"}) as box:
        box.put("shown", {"/a": b"1"})
        yield box


def over_tcp(box: Box) -> tuple[socket.socket, str]:
    host = str(box.status()["listen"]).removeprefix("http://")
    name, _, port = host.rpartition(":")
    return socket.create_connection((name, int(port)), 20), host


def over_the_socket(box: Box) -> tuple[socket.socket, str]:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(box.places.socket))
    return connection, "localhost"


WAYS: dict[str, Callable[[Box], tuple[socket.socket, str]]] = {"tcp": over_tcp, "socket": over_the_socket}


def ask(connection: socket.socket, first: str, lines: Lines) -> tuple[str, str]:
    """The status and the head of the answer to a request as it is sent."""
    with connection:
        body = () if first.startswith(("GET", "HEAD", "TRACE", "OPTIONS")) else ("Content-Length: 0",)
        end = () if any(line.startswith("Connection") for line in lines) else ("Connection: close",)
        connection.sendall("\r\n".join((f"{first} HTTP/1.1", *lines, *body, *end, "", "")).encode())
        answer = b""
        while b"\r\n\r\n" not in answer and (piece := connection.recv(65536)):
            answer += piece
    head = answer.partition(b"\r\n\r\n")[0].decode()
    return head.split()[1], head.lower()


def check(box: Box, way: str, first: str, lines: Lines, expected: str) -> None:
    box.mount("shown", "stays")
    connection, host = WAYS[way](box)
    status, head = ask(connection, first.replace(HOST, host), tuple(line.replace(HOST, host) for line in lines))
    assert status.startswith(expected), head
    assert "set-cookie" not in head
    assert "access-control" not in head, "no page of another site may read an answer"
    left = [mount["name"] for mount in box.status()["mounts"]]
    assert left == ([] if expected == OURS and first.startswith("PUT") else ["stays"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", TABLE)
def test_who_may_change_something(box: Box, way: str, case: str) -> None:
    first, lines, expected = TABLE[case]
    if way == "socket" and any(line.startswith("Origin") for line in lines) and expected == OURS:
        expected = REFUSED  # no page comes from a socket
    check(box, way, first, ("Host: <ours>", *lines), expected)


@pytest.mark.parametrize("case", HOSTS)
def test_by_which_names_we_are_asked(box: Box, case: str) -> None:
    lines, expected = HOSTS[case]
    check(box, "tcp", "PUT /_unmount_all", lines, expected)


def test_the_document_has_this_table() -> None:
    text = (Path(__file__).parents[2] / "docs/security.md").read_text(encoding="utf-8")
    missing = [case for case in (*TABLE, *HOSTS) if f"| {case} |" not in text]
    assert not missing
