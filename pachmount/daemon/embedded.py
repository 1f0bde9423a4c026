"""The embedded server as a child process: started when needed, shared by daemons, started again when it dies."""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from pachmount import errors
from pachmount.errors import BusyError, ClusterUnreachableError, PachmountError
from pachmount.paths import make_private_dir

log = logging.getLogger(__name__)

START_SECONDS = 20.0
STOP_SECONDS = 10.0


class EmbeddedProcess:
    """Runs `pachmount.localpfs` over `store` on a unix socket; another daemon's server over that store serves too."""

    def __init__(self, store: Path, socket_path: Path, log_file: Path) -> None:
        self._store = store
        self._socket = socket_path
        self._log_file = log_file
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"unix://{self._socket}"

    def ensure(self) -> str:
        """See to it that a server listens; its address. Raises ClusterUnreachableError, or the server's own error."""
        with self._lock:
            if self._listening():
                return self.address
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    self._start()
                    return self.address
                except BusyError:  # another daemon's server has the store; it may be starting or stopping
                    if self._listening():
                        return self.address
                    if not self._socket.exists():
                        self._end()  # ours, if it is that: nobody can reach it any more
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)

    def stop(self) -> None:
        """End the server if it is ours."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("the embedded server did not stop in %.0f s and is killed", STOP_SECONDS)
            process.kill()
            process.wait()

    def _listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self._socket))
            except OSError:
                return False
            return True

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            log.warning("the embedded server ended with code %s and is started again", self._process.returncode)
        make_private_dir(self._store)
        make_private_dir(self._socket.parent)
        make_private_dir(self._log_file.parent)
        receiver, sender = os.pipe()
        command = [sys.executable, "-m", "pachmount.localpfs", "--root", str(self._store), "--listen", self.address]
        with open(self._log_file, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as stderr:
            try:
                process = subprocess.Popen(
                    [*command, "--ready-fd", str(sender), "--exit-with-parent"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    pass_fds=(sender,),
                    start_new_session=True,
                    cwd="/",
                )
            finally:
                os.close(sender)
        with open(receiver, "rb") as ready:
            answer = _read_answer(ready.fileno())
        if answer is not None and answer.get("ready"):
            self._process = process
            log.info("embedded server started (pid %d) over %s", process.pid, self._store)
            return
        process.kill()
        code = process.wait()
        raise _failure(answer, code, self._log_file)


def _read_answer(descriptor: int) -> dict[str, object] | None:
    readable, _, _ = select.select([descriptor], [], [], START_SECONDS)
    line = os.read(descriptor, 1 << 16) if readable else b""
    if not line:
        return None
    answer: dict[str, object] = json.loads(line)
    return answer


def _failure(answer: dict[str, object] | None, code: int, log_file: Path) -> PachmountError:
    if answer is None:
        why = f"no answer within {START_SECONDS:.0f} s" if code < 0 else f"it ended with code {code}"
        return ClusterUnreachableError("the embedded server did not start", why, f"see {log_file}")
    error = answer.get("error")
    return errors.from_dict(error if isinstance(error, dict) else {})
