"""Cluster addresses: `grpc://host:port`, `grpcs://host:port`, `unix:///path`, and the short forms people type."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from pachmount.errors import InvalidAddressError

DEFAULT_PORT = 30650

_SCHEMES = {"grpc": "grpc", "http": "grpc", "grpcs": "grpcs", "https": "grpcs"}
_HINT = "an address is [grpc://|grpcs://]host[:port] or unix:///path"


@dataclass(frozen=True)
class ClusterAddress:
    """Where a cluster listens. `scheme` is grpc, grpcs or unix; `host` has no brackets, also for IPv6."""

    scheme: str
    host: str = ""
    port: int = 0
    socket_path: str = ""

    def __str__(self) -> str:
        return self.qualified

    @property
    def qualified(self) -> str:
        """The full text of the address, the form that config files hold."""
        return f"unix://{self.socket_path}" if self.scheme == "unix" else f"{self.scheme}://{self._authority}"

    @property
    def target(self) -> str:
        """The name that gRPC dials."""
        return f"unix://{self.socket_path}" if self.scheme == "unix" else f"dns:///{self._authority}"

    @property
    def secure(self) -> bool:
        """Whether the connection uses TLS."""
        return self.scheme == "grpcs"

    @property
    def _authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> ClusterAddress:
    """Read an address as pachctl does (spec: rest-api.md 5.3); raises InvalidAddressError."""
    text = text.strip()
    if not text:
        raise InvalidAddressError("no pachd address specified", hint=_HINT)
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "grpc", text
    scheme = scheme.lower()
    if scheme == "unix":
        return _unix_address(rest, text)
    if scheme not in _SCHEMES:
        raise _refusal(text, f"unrecognized scheme in pachd address: {scheme}")
    if any(not "!" <= char <= "~" for char in rest):
        raise _refusal(text, "could not parse pachd address: it holds a space or a character outside ASCII")
    try:
        url = urlsplit(f"//{rest}")
        host, port = url.hostname or "", url.port
    except ValueError as error:
        raise _refusal(text, f"could not parse pachd address: {error}") from error
    if "@" in url.netloc:
        raise _refusal(text, "pachd address should not include login credentials")
    if url.query or rest.endswith("?"):
        raise _refusal(text, "pachd address should not include a query string")
    if url.fragment or rest.endswith("#"):
        raise _refusal(text, "pachd address should not include a fragment")
    if url.path:
        raise _refusal(text, "pachd address should not include a path")
    if not host:
        raise _refusal(text, "could not parse pachd address: it has no host")
    if port == 0 or url.netloc.endswith(":"):
        raise _refusal(text, "could not parse pachd address: it has no usable port")
    return ClusterAddress(_SCHEMES[scheme], host, port or DEFAULT_PORT)


def _unix_address(path: str, text: str) -> ClusterAddress:
    if not path.startswith("/") or "\0" in path:
        raise _refusal(text, "a unix address is unix:// and an absolute path")
    return ClusterAddress("unix", socket_path=path)


def _refusal(text: str, why: str) -> InvalidAddressError:
    scheme, _, rest = text.rpartition("://")
    _, credentials, rest = rest.rpartition("@")
    shown = (f"{scheme}://" if scheme else "") + ("…@" if credentials else "") + rest
    return InvalidAddressError(f"invalid cluster address '{shown}'", why, _HINT)
