"""Starting the daemon from another process: spawn it, wait for its one line on the readiness pipe, or say why not.

The caller may be a short command or a multi-threaded Jupyter server, so the daemon is a new interpreter, never a fork.
This module imports only the standard library, `errors` and `paths`.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pachmount import errors, paths
from pachmount.errors import BusyError, DaemonNotRunningError, DaemonUnreachableError
from pachmount.paths import Places, open_private

READY_TIMEOUT = 30.0
"""Seconds until the daemon must have said that it is ready (or that it is not)."""

WINNER_TIMEOUT = 15.0
"""Seconds until the daemon that another process is starting must be listening."""

MAX_STDERR_BYTES = 1 << 20
_POLL_INTERVAL = 0.05
_LOG_HINT = "pachmount daemon run shows what happens; pachmount doctor looks for the cause"

_spawned: list[subprocess.Popen[bytes]] = []
"""Kept so that a long-lived caller (JupyterLab) reaps a daemon that ended."""


def is_listening(socket_path: Path, timeout: float = 2.0) -> bool:
    """Whether a process accepts connections on the daemon's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout)
        try:
            probe.connect(os.fspath(socket_path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except (TimeoutError, BlockingIOError):
            return True  # its queue is full: it lives, but is busy
        except OSError as error:
            why = error.strerror or str(error)
            raise DaemonUnreachableError(f"cannot connect to '{socket_path}'", why, "pachmount doctor") from error
    return True


def ensure_daemon(places: Places, flags: Sequence[str] = ()) -> bool:
    """Make sure that the daemon of `places` listens; True if this call started it.

    Two callers at once both succeed: the daemon's lock decides which one lives,
    and the loser's caller waits for the winner.
    """
    if is_listening(places.socket):
        return False
    try:
        spawn_daemon(places, flags)
        return True
    except BusyError:
        if _wait_until_listening(places.socket, WINNER_TIMEOUT):
            return False
        raise


def spawn_daemon(places: Places, flags: Sequence[str] = (), timeout: float = READY_TIMEOUT) -> int:
    """Start the daemon of `places` and return its pid once it is ready; raises the daemon's own error if it is not."""
    command = [sys.executable, "-m", "pachmount.daemon", "--mount-dir", str(places.mount_dir)]
    _spawned[:] = [process for process in _spawned if process.poll() is None]
    read_end, write_end = os.pipe()
    try:
        stderr, stderr_start = _open_stderr(places.log_file.with_name("daemon.stderr"))
        try:
            process = subprocess.Popen(
                [*command, "--ready-fd", str(write_end), *flags],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=(write_end,),
                start_new_session=True,
                cwd="/",
            )
        finally:
            os.close(write_end)
        try:
            pid = _wait_until_ready(process, read_end, stderr, stderr_start, timeout)
        except BaseException:  # Ctrl-C too: whoever gives up waiting leaves no half-started daemon behind
            _end(process)
            raise
        finally:
            os.close(stderr)
    finally:
        os.close(read_end)
    _spawned.append(process)
    return pid


def _open_stderr(path: Path) -> tuple[int, int]:
    """A file for what the daemon (or a crash handler) writes to stderr, and where this start's part of it begins."""
    paths.make_private_dir(path.parent)
    try:
        descriptor = open_private(path, os.O_CREAT | os.O_APPEND | os.O_RDWR)
    except OSError as error:
        why = error.strerror or str(error)
        raise errors.ConfigurationError(f"cannot write '{path}'", why, "pachmount doctor") from error
    size = os.fstat(descriptor).st_size
    if size > MAX_STDERR_BYTES:
        os.ftruncate(descriptor, 0)
        size = 0
    return descriptor, size


def _wait_until_ready(
    process: subprocess.Popen[bytes], read_end: int, stderr: int, stderr_start: int, timeout: float
) -> int:
    answer = read_ready(read_end, timeout)
    if answer is None:
        raise DaemonUnreachableError("the daemon did not start", f"it was not ready after {timeout:.0f} s", _LOG_HINT)
    if not answer:
        raise _death_report(process, stderr, stderr_start)
    return int(answer.get("pid") or process.pid)


def read_ready(descriptor: int, timeout: float) -> dict[str, Any] | None:
    """What a started program says on its readiness pipe: raises the error it reports.

    {} when it ended without a word, None when `timeout` seconds passed.
    """
    line = _read_line(descriptor, timeout)
    if not line:
        return None if line is None else {}
    answer: dict[str, Any] = json.loads(line)
    if not answer.get("ready"):
        raise errors.from_dict(answer.get("error") or {})
    return answer


def _read_line(descriptor: int, timeout: float) -> bytes | None:
    """One line from a pipe; b"" at its end, None when `timeout` seconds passed."""
    deadline = time.monotonic() + timeout
    received = b""
    while not received.endswith(b"\n"):
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            return None
        chunk = os.read(descriptor, 65536)
        if not chunk:
            return b""
        received += chunk
    return received


def _death_report(process: subprocess.Popen[bytes], stderr: int, stderr_start: int) -> DaemonNotRunningError:
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return DaemonNotRunningError("the daemon did not start", "it closed its readiness pipe", _LOG_HINT)
    text = os.pread(stderr, MAX_STDERR_BYTES, stderr_start).decode(errors="replace").strip()
    last = text.splitlines()[-1].strip() if text else "it printed nothing"
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return DaemonNotRunningError("the daemon did not start", f"{how}: {last}", _LOG_HINT)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_listening(socket_path: Path, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if is_listening(socket_path):
            return True
        time.sleep(_POLL_INTERVAL)
    return False
