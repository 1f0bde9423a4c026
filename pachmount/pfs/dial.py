"""Connecting a socket to a cluster's address before a deadline, name resolution included."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from typing import Any

from pachmount.pfs.address import ClusterAddress

_Found = list[tuple[Any, ...]]


def dial(address: ClusterAddress, seconds: float) -> socket.socket:
    """A socket connected to `address`, without TLS, in `seconds` at most.

    Raises OSError: that of the last of the host's addresses that was tried, TimeoutError when the time is over.
    """
    deadline = time.monotonic() + seconds
    if address.scheme == "unix":
        return _connected(socket.AF_UNIX, address.socket_path, deadline)
    failure: OSError = OSError(f"{address.host} has no address")
    for family, _, _, _, place in _resolved(address.host, address.port, deadline):
        try:
            sock = _connected(family, place, deadline)
        except OSError as error:
            failure = error
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    raise failure


def _connected(family: int, place: Any, deadline: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(_left(deadline))
        sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return sock


def _resolved(host: str, port: int, deadline: float) -> _Found:
    """getaddrinfo with a deadline: the C library's has none of its own, so a thread waits for it and is left behind."""
    answer: queue.SimpleQueue[_Found | OSError] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answer.put(error)

    threading.Thread(target=resolve, name="resolve", daemon=True).start()
    found: _Found | OSError | None = None
    with contextlib.suppress(queue.Empty):
        found = answer.get(timeout=_left(deadline))
    if found is None:
        raise TimeoutError(f"the name {host} was not resolved in time")
    if isinstance(found, OSError):
        raise found
    return found


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
