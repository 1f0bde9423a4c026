"""The embedded server as a process that tests start, stop and kill."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import uuid
from pathlib import Path

START_LIMIT_S = 30


class LocalServer:
    """The embedded server as a process of its own."""

    def __init__(self, directory: Path) -> None:
        self._root = directory / "root"
        self._log = directory / "log"
        self.address = f"unix://{directory}/s"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        reader, writer = os.pipe()
        command = [sys.executable, "-m", "pachmount.localpfs"]
        command += ["--root", str(self._root), "--listen", self.address, "--ready-fd", str(writer)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, pass_fds=[writer], stdout=log, stderr=log)
        os.close(writer)
        with open(reader, "rb", buffering=0) as ready:
            readable, _, _ = select.select([ready], [], [], START_LIMIT_S)
            answer = ready.read(200) if readable else b""
        if not answer:
            self.kill()
            raise AssertionError(f"the server did not start: {self._log.read_text()[-2000:]}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None


def unused_name(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"
