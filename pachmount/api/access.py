"""Who may use the REST API: on the unix socket by the user id of the peer, over TCP by a token (docs/security.md).

Requests that a web page makes a browser send are refused as well: over TCP by the name in `Host` (DNS rebinding), on
both by `Origin` and `Sec-Fetch-Site` (requests across sites).
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
import secrets
import socket
import stat
import struct
from pathlib import Path
from typing import NamedTuple, Protocol

import tornado.httputil

from pachmount.errors import AccessDeniedError, ConfigurationError, TokenRequiredError
from pachmount.names import printable
from pachmount.paths import make_dirs

TOKEN_BYTES = 32
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]{1,5})?")
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


class Endpoint(NamedTuple):
    """Where to listen over TCP; port 0 takes any."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        return self.host in _LOCAL_NAMES or (_is_address(self.host) and ipaddress.ip_address(self.host).is_loopback)


class Access(Protocol):
    """The rule of one listener."""

    def check(self, request: tornado.httputil.HTTPServerRequest) -> None:
        """Raises AccessDeniedError if whoever sent the request may not."""


class PeerAccess:
    """For a unix socket: this user, root, and those who were named."""

    def __init__(self, users: frozenset[int] | None) -> None:
        """`users`: ids of others who may; None = everybody who can reach the socket."""
        self._allowed = None if users is None else users | {os.getuid(), 0}

    @property
    def is_shared(self) -> bool:
        """Whether others than this user and root may."""
        return self._allowed is None or bool(self._allowed - {os.getuid(), 0})

    def check(self, request: tornado.httputil.HTTPServerRequest) -> None:
        _refuse_web_pages(request.headers, ours=frozenset())  # no page comes from a socket
        peer = _peer(request)
        if self._allowed is not None and peer not in self._allowed:
            what = f"user {peer} may not use this daemon"
            raise AccessDeniedError(what, f"it is user {os.getuid()}'s", "its owner can allow it: socket_users")


class TokenAccess:
    """For TCP: whoever knows the token (None = anybody), but no web page of another site."""

    def __init__(self, token: str | None, hosts: frozenset[str], own_host: str = "") -> None:
        """`hosts`: names, beside `localhost`, this machine's and any IP address, by which clients call us, maybe
        through something that adds TLS. `own_host` is where we listen.
        """
        self._token = token
        self._secure_hosts = hosts
        self._hosts = hosts | {own_host.lower()} | _LOCAL_NAMES | {socket.gethostname().lower()}

    def check(self, request: tornado.httputil.HTTPServerRequest) -> None:
        headers = request.headers
        host = _named_host(headers.get("Host", ""))
        if not (_is_address(host) or host in self._hosts):
            what = f"host '{printable(headers.get('Host', ''))}' is refused"
            why = "it does not name this daemon"
            raise AccessDeniedError(what, why, "if clients call it so, allow it: allowed_hosts")
        asked = headers.get("Host", "").lower()
        schemes = ("http", "https") if host in self._secure_hosts else ("http",)
        _refuse_web_pages(headers, ours=frozenset(f"{scheme}://{asked}" for scheme in schemes))
        if self._token is not None and not _bears(headers.get("Authorization", ""), self._token):
            why = "'Authorization: Bearer TOKEN' is missing or wrong"
            raise TokenRequiredError("this daemon asks for its token", why, "its owner finds it in token_file")


def _refuse_web_pages(headers: tornado.httputil.HTTPHeaders, ours: frozenset[str]) -> None:
    """AccessDeniedError for what a browser sends for a page of another origin than `ours` (scheme, host and port)."""
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    if origin is not None and origin not in ours:
        raise AccessDeniedError("a request from another site is refused", f"its origin is '{printable(origin)}'")
    if site not in (None, "none", "same-origin"):
        raise AccessDeniedError("a request from another site is refused", f"the browser says '{printable(site)}'")


def parse_endpoint(text: str) -> Endpoint:
    """`HOST:PORT`, `:PORT` or `PORT`; without a host this machine alone. Raises ConfigurationError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isdecimal() or not int(port) < 1 << 16:
        raise ConfigurationError(f"cannot listen on '{text}'", "it is HOST:PORT", "--listen 127.0.0.1:9002")
    return Endpoint(host, int(port))


def parse_hosts(text: str) -> frozenset[str]:
    """Host names, separated by commas."""
    return frozenset(name.strip().lower() for name in text.split(",") if name.strip())


def read_or_make_token(path: Path) -> str:
    """The token in a file of the user's own, mode 0600 or less; made if there is none. Raises ConfigurationError."""
    try:
        return _read_token(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigurationError(f"cannot read token file '{path}'", error.strerror or str(error)) from error
    token = secrets.token_urlsafe(TOKEN_BYTES)
    try:
        make_dirs(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(token + "\n")
    except OSError as error:
        raise ConfigurationError(f"cannot write token file '{path}'", error.strerror or str(error)) from error
    return token


def _read_token(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with open(descriptor, encoding="ascii", errors="replace") as file:
        info = os.fstat(descriptor)
        token = file.read(4096).strip()
    what = f"cannot use token file '{path}'"
    if info.st_uid not in (os.getuid(), 0):
        raise ConfigurationError(what, "it belongs to another user")
    if stat.S_IMODE(info.st_mode) & 0o007 or (stat.S_IMODE(info.st_mode) & 0o070 and info.st_uid == os.getuid()):
        raise ConfigurationError(what, "others can read it", f"chmod 600 {path}")
    if len(token) < 16 or not token.isascii() or any(not "!" <= char <= "~" for char in token):
        raise ConfigurationError(what, "a token is one word of at least 16 ASCII characters")
    return token


def _peer(request: tornado.httputil.HTTPServerRequest) -> int:
    """The user id at the other end of a unix socket (SO_PEERCRED: struct ucred of unix(7))."""
    connection = request.connection.stream.socket  # type: ignore[union-attr]
    if connection is None:
        raise AccessDeniedError("nobody waits for the answer", "the connection was closed")
    try:
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError as error:
        raise AccessDeniedError("nobody waits for the answer", error.strerror or str(error)) from error
    return int(uid)


def _bears(header: str, token: str) -> bool:
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _named_host(header: str) -> str:
    """The name or address in a Host header, "" if it is not of the form HOST or HOST:PORT."""
    found = _HOST.fullmatch(header.lower())
    return (found["address"] or found["name"]) if found else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
