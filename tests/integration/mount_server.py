"""`pachmount mount-server` in a process of its own, as in the image of the original."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.box import Box, wait_until


class MountServer:
    """Runs while the context is open; `log` is what it wrote to standard error, `output` the file of the rest."""

    def __init__(self, box: Box, *flags: str, **env: str) -> None:
        self._box = box
        self._log = box.root / "mount-server.log"
        self.output = box.root / "mount-server.out"
        self._env = {**box.env, **env}
        self._flags = flags
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> MountServer:
        command = [sys.executable, "-m", "pachmount", "mount-server", *self._flags]
        with self._log.open("wb") as log, self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=log, env=self._env, cwd=self._box.root
            )
        wait_until(lambda: " ready: " in self.log or self.process.poll() is not None, "the mount server is ready")
        assert self.process.poll() is None, self.log
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def url(self) -> str:
        """Where it listens over TCP, "" if it does not."""
        found = re.search(r"listening on (http://\S+)", self.log)
        return found.group(1) if found else ""

    @property
    def sockets(self) -> list[Path]:
        """The unix socket that it told of."""
        return [Path(path) for path in re.findall(r" ready: (\S+),", self.log)]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)
