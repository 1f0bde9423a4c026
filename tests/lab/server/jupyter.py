"""A Jupyter server with our extension in a process of its own, with tokens and XSRF checks as people have them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from pachmount.api.schema import CLIENT_HEADER
from tests.integration.box import Box, wait_until

TIMEOUT = 60
_PROBLEM = re.compile(
    r"Traceback \(most recent call last\)|\[E [^]]*\] (?!5\d\d |\{$)|Uncaught exception|never retrieved"
)


class Jupyter:
    """A running server of the user of a box; it shows the box's home. Requests carry the token."""

    def __init__(self, box: Box, *arguments: str, base: str = "/", **env: str) -> None:
        self.box = box
        self.token = secrets.token_hex(16)
        self._log = box.root / f"jupyter-{secrets.token_hex(4)}.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.origin = f"http://127.0.0.1:{port}"
        self.url = f"{self.origin}{base}"
        self.api = f"{self.url}pachyderm/v2"
        off = ("jupyterlab", "jupyter_lsp", "jupyter_server_terminals", "notebook_shim")
        extensions = {"pachmount_lab": True, **dict.fromkeys(off, False)}
        settings = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": port,
            "ServerApp.port_retries": 0,
            "ServerApp.base_url": base,
            "ServerApp.root_dir": box.root,
            "ServerApp.jpserver_extensions": extensions,
            "IdentityProvider.token": self.token,
        }
        command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"]
        command += [f"--{name}={value}" for name, value in settings.items()]
        places = {f"JUPYTER_{kind}_DIR": str(box.root / "jupyter" / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**box.env, **places, **env},
                cwd=box.root,
            )
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"token {self.token}"
        wait_until(self._answers, "Jupyter answers", 40)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(requests.ConnectionError):
            return self.session.get(f"{self.url}api/status", timeout=TIMEOUT).ok
        return False

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def log_problems(self) -> list[str]:
        return [line for line in self.log().splitlines() if _PROBLEM.search(line)]

    def ask(self, method: str, route: str, body: Any = None, *, ours: bool = True, **options: Any) -> requests.Response:
        """A request; `ours`: as our own front end sends it, which gets the daemon's errors whole."""
        headers = {**({CLIENT_HEADER: "1"} if ours else {}), **options.pop("headers", {})}
        data = body if isinstance(body, str | bytes | None) else json.dumps(body)
        return self.session.request(method, self.api + route, data=data, headers=headers, timeout=TIMEOUT, **options)

    def get(self, route: str, **options: Any) -> requests.Response:
        return self.ask("GET", route, **options)

    def put(self, route: str, body: Any = None, **options: Any) -> requests.Response:
        return self.ask("PUT", route, body, **options)

    def ok(self, method: str, route: str, body: Any = None, **options: Any) -> Any:
        """The JSON of a request that must succeed."""
        answer = self.ask(method, route, body, **options)
        assert answer.ok, f"{method} {route}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def state(self) -> dict[str, Any]:
        return dict(self.ok("GET", "/state"))

    def until(self, condition: str) -> dict[str, Any]:
        """Wait until the daemon is in a condition; the state."""
        wait_until(lambda: self.state()["daemon"] == condition, f"the daemon is {condition}", 40)
        return self.state()

    def rss_bytes(self) -> int:
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> None:
        """End it as a person does, twice Ctrl-C or SIGTERM."""
        self.session.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def jupyter(box: Box, *arguments: str, **options: str) -> Iterator[Jupyter]:
    """A server that must have nothing to complain about in its log."""
    server = Jupyter(box, *arguments, **options)
    try:
        yield server
    finally:
        server.end()
    assert not server.log_problems(), server.log()


@contextlib.contextmanager
def meanwhile(work: Callable[[], Any]) -> Iterator[Any]:
    """Let some work go on in a thread while the block runs; its future."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)


class SlowDaemon:
    """Somebody who listens like a daemon and answers `answer` to all, when `release` is set."""

    def __init__(self, path: Path) -> None:
        self.release = threading.Event()
        self.asked = threading.Event()
        self.left = threading.Event()
        self.answer = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"slow": true}'[
            :-1
        ]
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._listener.bind(str(path))
        self._listener.listen(16)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            self.asked.set()
            while not self.release.wait(0.02):
                connection.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    if not connection.recv(1):
                        self.left.set()
                        return
            connection.setblocking(True)
            connection.sendall(self.answer)
