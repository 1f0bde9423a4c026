"""A daemon that only talks: answers of the REST API over a unix socket, from a table."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pachmount.api import schema
from pachmount.errors import PachmountError

COMMIT = "1a2b3c4d" * 4
OLDER = "5e6f7a8b" * 4

Answer = Callable[[dict[str, Any], dict[str, str]], Any]


def mount_status(name: str, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": name,
        "source": f"default/{name}@master={COMMIT}",
        "mountpoint": f"/pfs/{name}",
        "mode": "ro",
        "state": "mounted",
        "status": "",
        "project": "default",
        "repo": name,
        "branch": "master",
        "commit": COMMIT,
        "path": "",
        "latest_commit": COMMIT,
        "behind": 0,
        "mounted_at": 1.0,
        "listing": "complete",
        "files": 3,
        "listing_bytes": 100,
    }
    return schema.MountStatus(**(fields | changes)).model_dump(mode="json")


def cluster_status(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"state": "connected", "address": "unix:///x.sock", "embedded": True, "context": "local"}
    return schema.ClusterStatus(**(fields | changes)).model_dump(mode="json")


def status_answer(mounts: list[dict[str, Any]], cluster: dict[str, Any] | None = None) -> dict[str, Any]:
    cache = schema.CacheStatus(
        directory="/c",
        disk_bytes=0,
        disk_limit=1 << 30,
        disk_blocks=0,
        memory_bytes=0,
        memory_limit=1,
        write_queue=0,
        write_queue_limit=1,
        streams=0,
        streams_limit=1,
        memory_hits=0,
        disk_hits=0,
        misses=0,
        fetched_bytes=0,
    )
    fields = {
        "version": "0.1.0",
        "pid": 4242,
        "started": 1.0,
        "mount_dir": "/pfs",
        "socket": "/s",
        "log_file": "/l",
        "rss_bytes": 50 << 20,
        "threads": 7,
        "waiting_requests": 0,
        "waiting_requests_limit": 64,
        "cluster": cluster or cluster_status(),
        "cache": cache.model_dump(mode="json"),
        "mounts": mounts,
    }
    return schema.StatusAnswer.model_validate(fields).model_dump(mode="json")


class FakeDaemon:
    """Serves `routes` (`"GET /status"` → a value, an exception to report, or a function of body and query)."""

    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path
        self.mounts: list[dict[str, Any]] = []
        self.cluster = cluster_status()
        self.routes: dict[str, Any] = {
            "GET /health": {"status": "running"},
            "GET /status": lambda _body, _query: status_answer(self.mounts, self.cluster),
            "PUT /_mount": self._mount,
            "PUT /_unmount": self._unmount,
        }
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self._server = _Server(str(socket_path), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.socket_path.unlink()

    def sent(self, route: str) -> dict[str, Any]:
        """The body of the one request to a route."""
        [body] = [body for name, body, _ in self.requests if name == route]
        return body

    def _mount(self, body: dict[str, Any], _query: dict[str, str]) -> dict[str, Any]:
        for entry in body["mounts"]:
            place = entry["mountpoint"] or f"/pfs/{entry['name']}"
            self.mounts.append(mount_status(entry["name"], repo=entry["repo"], mountpoint=place))
        return {"mounted": [], "unmounted": []}

    def _unmount(self, body: dict[str, Any], _query: dict[str, str]) -> dict[str, Any]:
        self.mounts = [entry for entry in self.mounts if entry["name"] not in body["mounts"]]
        return {"mounted": [], "unmounted": []}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the tests."""


def _handler(daemon: FakeDaemon) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            url = urlsplit(self.path)
            route = f"{self.command} {url.path}"
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            daemon.requests.append((route, body, query))
            result = daemon.routes.get(route, PachmountError(f"no route {route}"))
            try:
                result = result(body, query) if callable(result) else result
                if isinstance(result, PachmountError):
                    raise result
                code, data = 200, result
            except PachmountError as error:
                code, data = error.http_status, error.to_dict()
            payload = data if isinstance(data, bytes) else json.dumps(data).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_PUT = answer  # noqa: N815 (the names are http.server's)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_arguments: Any) -> None:
            return

    return Handler
