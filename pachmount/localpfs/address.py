"""Addresses to listen on: reading them, and making sure that nobody else is reached or locked out."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from pachmount.errors import BusyError, InvalidAddressError, NotPermittedError

_LONGEST_SOCKET_PATH = 107  # bytes, a limit of the kernel
_HINT = "write unix:///path/to/socket or 127.0.0.1:PORT"


@dataclass(frozen=True)
class UnixAddress:
    """A unix socket to listen on."""

    path: Path

    @property
    def target(self) -> str:
        """The address in the form that gRPC takes."""
        return f"unix:{self.path}"

    @property
    def public(self) -> str:
        """The address in the form that clients of pachmount take."""
        return f"unix://{self.path}"


@dataclass(frozen=True)
class TcpAddress:
    """A host and port to listen on; port 0 for any that is free."""

    host: str
    port: int

    @property
    def target(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def public(self) -> str:
        return f"grpc://{self.target}"


Address = UnixAddress | TcpAddress


def parse(text: str, *, allow_remote: bool = False) -> Address:
    """Read an address to listen on.

    Raises InvalidAddressError for a text that is none, and NotPermittedError for a TCP address that other machines
    reach, unless `allow_remote`.
    """
    if text.startswith("unix:"):
        name = text.removeprefix("unix:")
        path = Path("/" + name.lstrip("/") if name.startswith("/") else name).absolute()
        if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
            raise InvalidAddressError(
                f"cannot listen on {text}", f"a socket's path has at most {_LONGEST_SOCKET_PATH} bytes"
            )
        return UnixAddress(path)
    host, colon, port = text.removeprefix("grpc://").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidAddressError(f"cannot listen on {text}", "this is no address", _HINT)
    if host == "localhost":
        host = "127.0.0.1"
    try:
        number = ipaddress.ip_address(host)
    except ValueError as error:
        raise InvalidAddressError(f"cannot listen on {text}", "the host must be a number", _HINT) from error
    if not number.is_loopback and not allow_remote:
        raise NotPermittedError(
            f"will not listen on {text}", "other machines could read and write everything without a login", _HINT
        )
    return TcpAddress(host, int(port))


def remove_stale_socket(address: UnixAddress) -> None:
    """Remove what a server that was killed left at this path; to be called under the lock of the store.

    Raises BusyError if somebody listens there, InvalidAddressError if there is something else than a socket.
    """
    try:
        mode = address.path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InvalidAddressError(f"cannot listen on {address.public}", "there is a file of that name")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(address.path))
        except (ConnectionRefusedError, FileNotFoundError):
            address.path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise BusyError(f"cannot listen on {address.public}", error.strerror or str(error)) from error
    raise BusyError(f"cannot listen on {address.public}", "another server listens there")
