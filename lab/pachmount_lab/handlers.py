"""The base of our handlers: who may use them, and how errors are answered."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Coroutine
from dataclasses import dataclass
from http.client import responses
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from jupyter_server.base.handlers import APIHandler
from tornado.web import Finish, HTTPError

from pachmount.api import schema
from pachmount.errors import PachmountError, UsageError
from pachmount_lab.daemon import Daemon
from pachmount_lab.login import Logins
from pachmount_lab.uploads import Uploads
from pachmount_lab.workers import Workers

T = TypeVar("T")

PREFIX = "pachyderm/v2"
RESOURCE = "pachmount"
"""What an authorizer of Jupyter's is asked about; GET is `read`, all else `write`."""

_OWN_ARGUMENTS = {"token", "_xsrf", "no_track_activity"}
"""Meant for Jupyter; its token is not the daemon's business."""
_UNSAFE_IN_REASON = re.compile(r"[^\x20-\x7e]+")
_MAX_REASON = 500


@dataclass(frozen=True)
class Services:
    """What handlers work with."""

    daemon: Daemon
    workers: Workers
    uploads: Uploads
    logins: Logins
    root_dir: str
    """The directory that Jupyter's server shows, absolute."""


class Handler(APIHandler):
    """Each verb of a subclass is decorated with `tornado.web.authenticated` and `authorized`."""

    auth_resource = RESOURCE

    def initialize(self, services: Services) -> None:
        self.services = services
        self._task: asyncio.Future[Any] | None = None

    @property
    def is_own_client(self) -> bool:
        """Whether errors are answered as the daemon has them, as our front end wants it."""
        return bool(self.request.headers.get(schema.CLIENT_HEADER))

    @property
    def query(self) -> str:
        """The query as it was sent, without what is Jupyter's."""
        parts = self.request.query.split("&")
        return "&".join(part for part in parts if part.partition("=")[0] not in _OWN_ARGUMENTS)

    def path_below(self, route: str) -> bytes:
        """The path behind a route. It is UTF-8: tornado refuses all else."""
        begin = f"{self.base_url}{PREFIX}{route}"
        return unquote_to_bytes(self.request.path[len(begin) :]).strip(b"/")

    def json_object(self) -> dict[str, Any]:
        """The body. Raises UsageError if it is no JSON object."""
        try:
            body = json.loads(self.request.body or b"{}")
        except ValueError as error:
            raise UsageError("the body is no JSON", str(error)) from error
        if not isinstance(body, dict):
            raise UsageError("the body is no JSON object")
        return body

    async def while_wanted(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what a browser waits for; it is given up when the browser goes away."""
        self._task = task = asyncio.ensure_future(work)
        try:
            return await task
        except asyncio.CancelledError:
            if self._task is None:  # by on_connection_close
                raise Finish from None
            task.cancel()
            raise

    def on_connection_close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def answer(self, body: Any, status: int = 200) -> None:
        """Send JSON."""
        self.set_status(status)
        self.finish(json.dumps(body))

    def fail(self, error: PachmountError) -> None:
        """Send an error: whole to our own front end, else as Jupyter's errors are."""
        self.send_failure(error.http_status, str(error), json.dumps(error.to_dict()).encode())

    def send_failure(self, status: int, text: str, document: bytes) -> None:
        """Send an error that is `text` to others and `document` (JSON) to our own front end."""
        self.clear_header("Content-Disposition")  # that of a download, which it is not
        self.set_status(status, safe_reason(text) or responses.get(status, "Unknown"))
        if self.is_own_client:
            self.finish(document)
        else:
            self.finish(json.dumps({"message": responses.get(status, "Unknown HTTP Error"), "reason": text}))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, PachmountError):
            self.fail(error)
        elif isinstance(error, HTTPError) and self.is_own_client:
            what = error.log_message or error.reason or responses.get(status_code, "Unknown HTTP Error")
            self.fail_as(status_code, what)
        else:
            super().write_error(status_code, **kwargs)

    def fail_as(self, status: int, what: str) -> None:
        """Send an error of Jupyter's to our own front end."""
        document = PachmountError(what).to_dict()
        self.send_failure(status, what, json.dumps(document).encode())

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if isinstance(value, PachmountError):
            self.log.info("%s %s: %s", self.request.method, self.request.path, value)
        else:
            super().log_exception(typ, value, tb)


class PollHandler(Handler):
    """What a panel asks for again and again, which does not keep a server of JupyterHub's from being culled."""

    _track_activity = False


def safe_reason(text: str) -> str:
    """A text as the reason of an HTTP status: one line of ASCII."""
    plain = text.replace(" — ", ": ").replace("\n", " ").replace("<", "?")  # tornado refuses it there
    return _UNSAFE_IN_REASON.sub("?", plain).strip()[:_MAX_REASON]
