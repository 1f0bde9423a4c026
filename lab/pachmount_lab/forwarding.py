"""The daemon's routes, passed on as they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http.client import responses

from jupyter_server.auth.decorator import authorized
from tornado.iostream import StreamClosedError
from tornado.web import Finish, HTTPError, authenticated

from pachmount.api import schema
from pachmount.client import CLUSTER_TIMEOUT, LOGIN_TIMEOUT, MOUNT_TIMEOUT, POLL_TIMEOUT, UPLOAD_TIMEOUT
from pachmount.errors import PachmountError, TooLongError
from pachmount_lab.connection import Request
from pachmount_lab.daemon import Reply, within
from pachmount_lab.handlers import Handler, Services

SLOW_BROWSER_SECONDS = 300.0
"""How long a browser may take for a piece of a file."""
MAX_BODY_BYTES = 16 << 20
"""What the daemon takes."""

_REQUEST_HEADERS = ("Range", "If-Range", "If-None-Match")
_ANSWER_HEADERS = ("Accept-Ranges", "Content-Range", "Content-Length", "Content-Type", "ETag", "X-Content-Type-Options")


@dataclass(frozen=True)
class Route:
    """How a route is passed on: how long an answer to GET or PUT may take (s; None = there is none), and whether asking
    it is a sign of somebody who works.
    """

    get: float | None = None
    put: float | None = None
    is_poll: bool = False


ROUTES: dict[str, Route] = {
    "/status": Route(get=POLL_TIMEOUT, is_poll=True),
    "/stats": Route(get=POLL_TIMEOUT, is_poll=True),
    "/metrics": Route(get=POLL_TIMEOUT, is_poll=True),
    "/warmups": Route(get=POLL_TIMEOUT, is_poll=True),
    "/mounts": Route(get=CLUSTER_TIMEOUT, is_poll=True),
    "/datums": Route(get=POLL_TIMEOUT, is_poll=True),
    "/datums/_list": Route(get=POLL_TIMEOUT, is_poll=True),
    "/projects": Route(get=CLUSTER_TIMEOUT),
    "/repos": Route(get=CLUSTER_TIMEOUT),
    "/branches": Route(get=CLUSTER_TIMEOUT),
    "/commits": Route(get=CLUSTER_TIMEOUT),
    "/files": Route(get=CLUSTER_TIMEOUT),
    "/file": Route(get=CLUSTER_TIMEOUT),
    "/pipelines": Route(get=CLUSTER_TIMEOUT),
    "/pps/_pipelines": Route(get=CLUSTER_TIMEOUT),
    "/_mount": Route(put=MOUNT_TIMEOUT),
    "/_follow": Route(put=MOUNT_TIMEOUT),
    "/_refresh": Route(put=MOUNT_TIMEOUT),
    "/_remount": Route(put=MOUNT_TIMEOUT),
    "/_diff": Route(put=MOUNT_TIMEOUT),
    "/_discard": Route(put=MOUNT_TIMEOUT),
    "/_warmup": Route(put=MOUNT_TIMEOUT),
    "/_warmup_cancel": Route(put=POLL_TIMEOUT),
    "/_unmount": Route(put=UPLOAD_TIMEOUT),
    "/_unmount_all": Route(put=UPLOAD_TIMEOUT),
    "/_mount_datums": Route(put=UPLOAD_TIMEOUT),
    "/datums/_mount": Route(put=UPLOAD_TIMEOUT),
    "/datums/_unmount": Route(put=MOUNT_TIMEOUT),
    "/datums/_next": Route(put=MOUNT_TIMEOUT),
    "/datums/_prev": Route(put=MOUNT_TIMEOUT),
    "/_show_datum": Route(put=MOUNT_TIMEOUT),
    "/pipelines/_publish": Route(put=UPLOAD_TIMEOUT),
    "/auth/_login_token": Route(put=LOGIN_TIMEOUT),
    "/auth/_logout": Route(put=UPLOAD_TIMEOUT),
}
"""All that need nothing but being passed on."""
_OTHER_NAMES = {"/pps/_pipelines": "/pipelines"}


class Forwarding(Handler):
    """The base of handlers that ask the daemon something in the name of the browser."""

    async def forward(self, limit: float, target: str, body: bytes | None = None, method: str = "") -> Reply:
        """What the daemon answers to the browser's request. Raises PachmountError if it does not."""
        if body is not None and len(body) > MAX_BODY_BYTES:
            raise TooLongError("the request is too long", f"the daemon takes {MAX_BODY_BYTES >> 20} MiB")
        request = Request(method or str(self.request.method), target, self._headers_to_send(), body)
        return await self.while_wanted(self.services.daemon.ask(request, limit))

    def pass_on(self, reply: Reply) -> None:
        """Answer what the daemon answered."""
        if reply.is_ok:
            self.finish(reply.body, set_content_type=reply.content_type or "application/json")
            return
        text = reply.body.decode(errors="replace").strip()
        if self.is_own_client:
            try:
                error = reply.error()
            except PachmountError:  # not from one of the daemon's handlers, such as 405
                error = PachmountError(text or responses.get(reply.status, "Unknown HTTP Error"))
            self.send_failure(reply.status, str(error), json.dumps(error.to_dict()).encode())
        else:
            self.send_failure(reply.status, text or responses.get(reply.status, "Unknown"), b"")

    def target(self, route: str) -> str:
        """A route of the daemon with the browser's query."""
        return f"{route}?{self.query}" if self.query else route

    def _headers_to_send(self) -> dict[str, str]:
        return {schema.CLIENT_HEADER: "1"} if self.is_own_client else {}


class ForwardHandler(Forwarding):
    """One of ROUTES."""

    def initialize(self, services: Services, route: str) -> None:  # type: ignore[override]  # tornado's are by name
        super().initialize(services)
        self.route = route
        self._track_activity = not ROUTES[route].is_poll

    @authenticated
    @authorized
    async def get(self) -> None:
        await self._forward(ROUTES[self.route].get, None)

    @authenticated
    @authorized
    async def put(self) -> None:
        await self._forward(ROUTES[self.route].put, self.request.body)

    async def _forward(self, limit: float | None, body: bytes | None) -> None:
        if limit is None:
            raise HTTPError(405)
        target = self.target(_OTHER_NAMES.get(self.route, self.route))
        self.pass_on(await self.forward(limit, target, body))


class CommitHandler(Forwarding):
    """PUT /_commit, and POST, as the original spelled it."""

    @authenticated
    @authorized
    async def put(self) -> None:
        await self._commit()

    @authenticated
    @authorized
    async def post(self) -> None:
        await self._commit()

    async def _commit(self) -> None:
        reply = await self.forward(UPLOAD_TIMEOUT, self.target("/_commit"), self.request.body, "PUT")
        self.pass_on(reply)


class ConfigHandler(Forwarding):
    """/config: no cluster is an answer here, as in the original, and no error."""

    @authenticated
    @authorized
    async def get(self) -> None:
        reply = await self.forward(UPLOAD_TIMEOUT, "/config")
        if reply.status == 404:
            self.answer({"cluster_status": "INVALID"})
        else:
            self.pass_on(reply)

    @authenticated
    @authorized
    async def put(self) -> None:
        self.pass_on(await self.forward(UPLOAD_TIMEOUT, "/config", self.request.body))


class LoginHandler(Forwarding):
    """PUT /auth/_login: where to log in; that it is done is waited for beside it."""

    @authenticated
    @authorized
    async def put(self) -> None:
        reply = await self.forward(UPLOAD_TIMEOUT, "/auth/_login", b"{}")
        if reply.is_ok:
            self.services.logins.wait_for(str(reply.json()["oidc_state"]))
        self.pass_on(reply)


class StreamHandler(Forwarding):
    """The base of those that pass on files, a piece at a time."""

    async def stream(self, target: str) -> None:
        """Pass on what the daemon answers to GET, as fast as the browser takes it."""
        headers = {name: self.request.headers[name] for name in _REQUEST_HEADERS if name in self.request.headers}
        request = Request("GET", target, {**self._headers_to_send(), **headers})
        await self.while_wanted(self._stream(request))

    async def _stream(self, request: Request) -> None:
        async with self.services.daemon.open(request) as answer:
            if answer.status not in (200, 206, 304):
                self.pass_on(Reply(answer.status, "", await within(CLUSTER_TIMEOUT, request, answer.whole())))
                return
            self.set_status(answer.status)
            for name in _ANSWER_HEADERS:
                if name in answer.headers:
                    self.set_header(name, answer.headers[name])
            await self.send(answer.pieces())
        self.finish(set_content_type=answer.headers.get("Content-Type", "application/octet-stream"))

    async def send(self, pieces: AsyncIterator[bytes]) -> None:
        """Send a body as fast as the browser takes it; it is cut off if there is no more of it, or nobody takes it."""
        try:
            async for piece in pieces:
                self.write(piece)
                await asyncio.wait_for(self.flush(), SLOW_BROWSER_SECONDS)
        except (StreamClosedError, asyncio.TimeoutError, PachmountError) as error:
            self.log.info("%s was cut off: %s", self.request.path, error)
            self.request.connection.stream.close()  # type: ignore[union-attr]  # so that the browser notices
            raise Finish from error


class ContentHandler(StreamHandler):
    """GET /content: the bytes of a file."""

    @authenticated
    @authorized
    async def get(self) -> None:
        await self.stream(self.target("/content"))
