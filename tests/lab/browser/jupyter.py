"""JupyterLab as a person starts it, with token and XSRF checks, in the environment of a box."""

from __future__ import annotations

import json
import re
import secrets
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.integration.box import Box, wait_until

START_SECONDS = 60.0
STOP_SECONDS = 20.0
SETTINGS = {"@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False}}
"""Of the user, by plugin: nothing that asks a question or needs the internet."""
_PROBLEM = re.compile(r"Uncaught exception|Traceback \(most recent call last\)")


class JupyterLab:
    """A server whose notebooks lie in `work`. `prefix` is the environment whose JupyterLab it is."""

    def __init__(self, box: Box, prefix: Path = Path(sys.prefix)) -> None:
        self.work = box.root / "work"
        self.work.mkdir()
        self._home = box.root
        self._log_file = box.root / "jupyter.log"
        for plugin, settings in SETTINGS.items():
            file = box.root / ".jupyter" / "lab" / "user-settings" / f"{plugin}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(settings))
        self._token = secrets.token_hex(16)
        self._port = _free_port()
        environment = {name: value for name, value in box.env.items() if not name.startswith("JUPYTER")}
        environment["PATH"] = f"{prefix / 'bin'}:{environment['PATH']}"
        with self._log_file.open("w") as log:
            self._process = subprocess.Popen(
                [
                    *(prefix / "bin" / "jupyter-lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
                    *(f"--ServerApp.port={self._port}", "--ServerApp.port_retries=0"),
                    f"--IdentityProvider.token={self._token}",
                    "--LabApp.expose_app_in_browser=True",
                    "--LabApp.extension_manager=readonly",
                    "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.work,
            )
        wait_until(self._answers, "JupyterLab answers", START_SECONDS)

    @property
    def url(self) -> str:
        """The page of a new workspace; logs in."""
        return f"http://127.0.0.1:{self._port}/lab?reset&token={self._token}"

    @property
    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    def problems(self) -> list[str]:
        """What nobody caught, in the server's log, with what follows it."""
        log = self.log
        return [log[found.start() : found.start() + 2000] for found in _PROBLEM.finditer(log)]

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        finally:
            self._process.kill()

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
