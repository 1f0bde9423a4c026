"""One question to the daemon on its socket, for what must answer at once: `pachmount status` and completion.

`client.DaemonClient` is the way for everything else: it checks what comes. Its imports (http.client, pydantic) take
longer than the daemon's answer does.
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pachmount.errors import DaemonNotRunningError, DaemonUnreachableError

START_HINT = "pachmount daemon start"
_PIECE = 1 << 16
_FULL_QUEUE_PAUSE = 0.02
_MAX_BYTES = 64 << 20


def glance(socket_path: Path, target: str, timeout: float) -> Any:
    """The JSON that GET `target` answers, its objects as SimpleNamespace; None if the daemon refuses the request.

    Raises DaemonNotRunningError, DaemonUnreachableError (also after `timeout` seconds).
    """
    deadline = time.monotonic() + timeout
    try:
        connection = connect(socket_path, timeout)
    except OSError as error:
        raise not_connected(error, START_HINT) from error
    with connection:
        try:
            # HTTP/1.0: the answer is not in chunks and ends with the connection.
            request = f"GET {target} HTTP/1.0\r\nHost: localhost\r\nX-Pachmount-Client: 1\r\n\r\n"
            connection.sendall(request.encode())
            answer = _read(connection, deadline)
        except OSError as error:
            raise not_answered(error, f"GET {target}", timeout) from error
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1:2] != [b"200"]:
        return None
    try:
        return json.loads(body, object_hook=lambda fields: SimpleNamespace(**fields))
    except ValueError as error:
        raise not_answered(error, f"GET {target}", timeout) from error


def connect(socket_path: Path | str, timeout: float) -> socket.socket:
    """A connection to a daemon's socket, which may wait for `timeout` seconds, too. Raises OSError."""
    deadline = time.monotonic() + timeout
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        while True:
            try:
                connection.connect(os.fspath(socket_path))
                return connection
            except BlockingIOError:  # many connect at once: its queue is full, and no timeout waits for that
                if time.monotonic() > deadline:
                    raise
                time.sleep(_FULL_QUEUE_PAUSE)
    except BaseException:
        connection.close()
        raise


def not_connected(error: OSError, start_hint: str) -> DaemonNotRunningError | DaemonUnreachableError:
    """What it means that the daemon takes no connection; `start_hint` says how one is started."""
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return DaemonNotRunningError("the daemon is not running", "", start_hint)
    return DaemonUnreachableError("cannot connect to the daemon", error.strerror or str(error), "pachmount doctor")


def not_answered(error: Exception, request: str, timeout: float) -> DaemonUnreachableError:
    """What it means that an answer did not come, within `timeout` seconds or as a whole."""
    if isinstance(error, TimeoutError):
        why = f"no answer to {request} within {timeout:.0f} s"
        return DaemonUnreachableError("the daemon does not answer", why, "pachmount daemon restart")
    return DaemonUnreachableError("lost the connection to the daemon", f"{request} was cut off", "pachmount status")


def _read(connection: socket.socket, deadline: float) -> bytes:
    answer = bytearray()
    while piece := connection.recv(_PIECE):
        answer += piece
        if len(answer) > _MAX_BYTES:
            raise OSError("the answer has no end")
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        connection.settimeout(remaining)
    return bytes(answer)
