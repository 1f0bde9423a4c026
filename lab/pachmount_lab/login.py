"""Logins in a browser: waiting for them, and the token for programs that run beside Jupyter's server."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from typing import Any

from pachmount.client import LOGIN_TIMEOUT
from pachmount.errors import PachmountError
from pachmount.pfs.contexts import ContextFile
from pachmount_lab.connection import Request
from pachmount_lab.daemon import CLIENT_HEADERS, Daemon

log = logging.getLogger(__name__)

MAX_WAITING = 4
"""As many as the daemon waits for."""


class Logins:
    """Waits for logins that were begun. For the loop's thread alone."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._last: dict[str, Any] | None = None
        self._waiting: deque[asyncio.Task[None]] = deque()

    def told(self, auth: str) -> dict[str, Any] | None:
        """What became of the login that was begun last: its `state` is "waiting", "failed" or "done", and `error` is
        that of a failed one. None if there was none, or it failed and `auth` tells that another one went well.
        """
        if auth == "logged-in" and self._last is not None and self._last["state"] == "failed":
            self._last = None
        return self._last

    def wait_for(self, oidc_state: str) -> None:
        """Begin to wait; the oldest is given up when there are too many."""
        self._waiting = deque(task for task in self._waiting if not task.done())
        while len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft().cancel()
        outcome = self._last = {"state": "waiting", "error": None}
        self._waiting.append(asyncio.ensure_future(self._finish(oidc_state, outcome)))

    async def _finish(self, oidc_state: str, outcome: dict[str, Any]) -> None:
        request = Request("PUT", "/auth/_login_token", CLIENT_HEADERS, json.dumps({"oidc": oidc_state}).encode())
        try:
            reply = await self._daemon.ask(request, LOGIN_TIMEOUT)
            if not reply.is_ok:
                raise reply.error()
            if self._daemon.is_sidecar:
                await asyncio.to_thread(merge_contexts, reply.json())
            outcome["state"] = "done"
        except PachmountError as error:
            outcome.update(state="failed", error=error.to_dict())
            log.warning("the login was not completed: %s", error)


def merge_contexts(told: dict[str, Any], file: ContextFile | None = None) -> None:
    """Put the context of a daemon that keeps a file elsewhere into pachctl's file here, and make it the active one.

    One that is there by that name gets the new token and keeps the rest. Raises ConfigurationError, BusyError.
    """
    file = file or ContextFile.load()
    v2 = told["v2"]
    name = v2["active_context"]
    entry: dict[str, Any] = v2["contexts"].get(name) or {}
    if name in file.names():
        file.set_token(name, entry.get("session_token", ""))
        file.use(name)
    elif entry.get("pachd_address"):
        file.write_context(
            name,
            entry["pachd_address"],
            entry.get("server_cas", ""),
            session_token=entry.get("session_token", ""),
            project=entry.get("project", ""),
            source=entry.get("source", 0),
        )
