"""How everything is: `/state`, `/health`, `/doctor`, and starting the daemon."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from pachmount import __version__
from pachmount.cli import checks
from pachmount.errors import DaemonNotRunningError, DaemonUnreachableError, InternalError
from pachmount_lab.daemon import Daemon
from pachmount_lab.handlers import Handler, PollHandler, Services
from pachmount_lab.login import Logins

DOCTOR_SECONDS = 60.0
FUSE_SECONDS = 30.0
"""How long the answer to whether there is FUSE is good for."""
_RESTLESS = ("rss_bytes", "threads")
"""Of the daemon's status: what changes all the time and makes no new state."""


class Watch:
    """Puts together what a panel polls. For the loop's thread alone."""

    def __init__(self, daemon: Daemon, logins: Logins, root_dir: str) -> None:
        self._daemon = daemon
        self._logins = logins
        self._root_dir = root_dir
        self._fuse: dict[str, Any] = {}
        self._fuse_until = 0.0

    async def look(self) -> dict[str, Any]:
        """The state as JSON."""
        state = await self._daemon.state()
        status = state.status
        mount_dir = str(status["mount_dir"]) if status else str(self._daemon.places.mount_dir)
        return {
            "daemon": state.condition,
            "error": state.error.to_dict() if state.error is not None else None,
            "sidecar": self._daemon.is_sidecar,
            "mount_dir": mount_dir,
            "fuse": await self._fuse_here(),
            "contents": {"root": _below(self._root_dir, mount_dir)},
            "version": __version__,
            "status": status,
            "datums": status.get("datum") if status else None,
            "login": self._logins.told(str(status["cluster"]["auth"]) if status else ""),
        }

    async def _fuse_here(self) -> dict[str, Any]:
        if self._daemon.is_sidecar:  # what is there in its container is not known here
            return {"available": True, "reason": ""}
        if time.monotonic() > self._fuse_until:
            self._fuse = await asyncio.to_thread(_fuse)
            self._fuse_until = time.monotonic() + FUSE_SECONDS
        return self._fuse


class StateHandler(PollHandler):
    """GET /state: always 200, whatever is broken."""

    def initialize(self, services: Services, watch: Watch) -> None:  # type: ignore[override]  # tornado's are by name
        super().initialize(services)
        self.watch = watch
        self._etag: str | None = None

    @authenticated
    @authorized
    async def get(self) -> None:
        await self.tell()

    async def tell(self) -> None:
        """Answer with the state."""
        state = await self.while_wanted(self.watch.look())
        self._etag = _etag(state)
        self.answer(state)

    def compute_etag(self) -> str | None:
        return self._etag


class StartHandler(StateHandler):
    """PUT /daemon/_start: start the daemon, also after a try that failed."""

    _track_activity = True

    @authenticated
    @authorized
    async def put(self) -> None:
        await self.services.daemon.start()
        await self.tell()


class RestartHandler(StateHandler):
    """PUT /daemon/_restart: stop the daemon and start it again."""

    _track_activity = True

    @authenticated
    @authorized
    async def put(self) -> None:
        await self.services.daemon.restart()
        await self.tell()


class HealthHandler(PollHandler):
    """GET /health: whether the daemon runs; it does not start it."""

    @authenticated
    @authorized
    async def get(self) -> None:
        if await self.while_wanted(self.services.daemon.is_healthy()):
            self.answer({"status": "running"})
        elif self.is_own_client:
            raise DaemonNotRunningError("the daemon is not running")
        else:
            self.send_failure(500, "Mount server not running.", b"")


class DoctorHandler(Handler):
    """GET /doctor: what `pachmount doctor --json` says."""

    @authenticated
    @authorized
    async def get(self) -> None:
        self.answer(await self.while_wanted(_doctor()))


async def _doctor() -> Any:
    command = (sys.executable, "-m", "pachmount", "doctor", "--json")
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdin=nothing, stdout=pipe, stderr=pipe)
    try:
        output, complaint = await asyncio.wait_for(process.communicate(), DOCTOR_SECONDS)
    except asyncio.TimeoutError as error:
        why = f"it took more than {DOCTOR_SECONDS:.0f} s"
        raise DaemonUnreachableError("the checks did not end", why, "pachmount doctor") from error
    finally:
        if process.returncode is None:
            process.kill()
    try:
        return json.loads(output)
    except ValueError as error:
        raise InternalError("the checks failed", complaint.decode(errors="replace")[-500:]) from error


def _fuse() -> dict[str, Any]:
    """Whether this machine can mount, and if not why. Blocking."""
    for check in (checks.fuse_device(), checks.libfuse(), checks.fusermount()):
        if check.verdict is checks.Verdict.PROBLEM:
            return {"available": False, "reason": f"{check.name}: {check.found} — {check.advice}"}
    return {"available": True, "reason": ""}


def _below(root: str, directory: str) -> str | None:
    """A directory relative to one above it; None if that is not above it."""
    relative = os.path.relpath(os.path.realpath(directory), os.path.realpath(root))
    return None if relative == ".." or relative.startswith("../") else relative


def _etag(state: dict[str, Any]) -> str:
    status = state["status"]
    told = {key: value for key, value in status.items() if key not in _RESTLESS} if status else None
    return f'"{hashlib.sha256(json.dumps({**state, "status": told}).encode()).hexdigest()[:32]}"'
