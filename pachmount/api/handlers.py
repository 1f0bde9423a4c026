"""The base of all REST handlers: run work off the loop, within a deadline, and turn errors into answers."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import tornado.web
from pydantic import BaseModel

from pachmount.api import schema
from pachmount.api.access import Access
from pachmount.api.pools import Pools
from pachmount.errors import (
    AccessDeniedError,
    ClusterTimeoutError,
    ClusterUnreachableError,
    InternalError,
    LoginRequiredError,
    NotConnectedError,
    OverloadedError,
    PachmountError,
    StoppingError,
    UnreachableError,
    UsageError,
)
from pachmount.mounts.browsing import Browser
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.manager import MountManager
from pachmount.mounts.warmups import Warmups
from pachmount.names import DEFAULT_PROJECT
from pachmount.pfs.model import AuthState

log = logging.getLogger(__name__)
T = TypeVar("T")

HANDLER_SECONDS = 120.0
RETRY_AFTER_SECONDS = 1
MAX_LOGINS = 4
"""How many may wait for a person to log in: each keeps a thread busy for minutes."""
MAX_DOWNLOADS = 64
"""How many files are sent at once: each holds a piece of its file in memory."""
MAX_BODY_BYTES = 16 << 20
MAX_NUMBER = 10_000
MAX_DIGITS = 18


class RequestCounts:
    """Requests by route and HTTP status; used by the loop's thread alone, and bounded by the table of routes.

    `active` counts those that are not answered yet.
    """

    def __init__(self) -> None:
        self.active = 0
        self._counts: dict[str, Counter[str]] = {}

    def begin(self) -> None:
        self.active += 1

    def count(self, route: str, status: int) -> None:
        """A request was answered."""
        self.active -= 1
        self._counts.setdefault(route, Counter())[str(status)] += 1

    def snapshot(self) -> dict[str, dict[str, int]]:
        return {route: dict(sorted(counts.items())) for route, counts in sorted(self._counts.copy().items())}


class Slots:
    """How many requests of a kind there are at once; used by the loop's thread alone."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def enter(self) -> bool:
        """Count one more, if there may be one."""
        if self.taken >= self.limit:
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        self.taken -= 1


@dataclass(frozen=True)
class Services:
    """What handlers work with."""

    manager: MountManager
    cluster: Cluster
    pools: Pools
    status: Callable[[], schema.StatusAnswer]
    stats: Callable[[], schema.StatsAnswer]
    requests: RequestCounts
    warmups: Warmups
    browser: Browser
    logins: Slots
    downloads: Slots
    max_datums: int
    stopping: threading.Event
    reload: Callable[[], schema.ReloadAnswer]


class Handler(tornado.web.RequestHandler):
    """Knows only GET and PUT, as the original; answers errors as its plain text, or as JSON to our own clients."""

    SUPPORTED_METHODS = ("GET", "PUT")
    begins_something = True
    """Whether a daemon that stops refuses it."""
    compatible = True
    """A route of the original: it answers errors with the few statuses that the original knows."""
    services: Services

    def initialize(self, services: Services, access: Access, route: str = "other") -> None:
        self.services = services
        self.access = access
        self.route = route

    def prepare(self) -> None:
        self.services.requests.begin()
        self.access.check(self.request)
        if self.services.stopping.is_set() and self.begins_something:
            raise StoppingError

    @property
    def is_own_client(self) -> bool:
        """Whether the request comes from one of our clients, who know more than those of the original."""
        return bool(self.request.headers.get(schema.CLIENT_HEADER))

    @property
    def default_project(self) -> str:
        """The project where none is named: for our own clients that of the context in use."""
        return self.services.cluster.default_project if self.is_own_client else DEFAULT_PROJECT

    def on_finish(self) -> None:
        self.services.requests.count(self.route, self.get_status())

    async def poll(self, work: Callable[[], T]) -> T:
        """Run a question that memory answers."""
        return await self.run(self.services.pools.poll, work)

    async def watch(self, work: Callable[[], T]) -> T:
        """Run a question that clients ask again and again, and that waits for the cluster for seconds at most."""
        return await self.run(self.services.pools.watch, partial(self._asked, work))

    async def look(self, work: Callable[[], T]) -> T:
        """Run a question to the cluster."""
        return await self.run(self.services.pools.look, partial(self._asked, work))

    async def stream(self, work: Callable[[], T]) -> T:
        """Read a piece of a file, which has deadlines of its own."""
        return await self.run(self.services.pools.stream, partial(self._asked, work), None)

    async def work(self, work: Callable[[], T]) -> T:
        """Run a change."""
        return await self.run(self.services.pools.work, partial(self._changed, work))

    async def upload(self, work: Callable[[], T]) -> T:
        """Run a change that sends data, for as long as that takes: its stream has a deadline for each piece."""
        return await self.run(self.services.pools.upload, partial(self._changed, work), None)

    async def run(self, executor: Executor, work: Callable[[], T], timeout: float | None = HANDLER_SECONDS) -> T:
        """Run work in a thread of `executor`; ClusterTimeoutError if it takes longer than `timeout` (s).

        OverloadedError if too many requests wait for one of its threads.
        """
        try:
            future = asyncio.get_running_loop().run_in_executor(executor, work)
            return await asyncio.wait_for(asyncio.shield(future), timeout)
        except asyncio.TimeoutError as error:
            why = f"it goes on, but took more than {timeout:.0f} s"
            raise ClusterTimeoutError("the request is not done yet", why, "pachmount status") from error
        except (UnreachableError, NotConnectedError, asyncio.CancelledError, RuntimeError, ValueError) as error:
            if not self.services.stopping.is_set():
                raise
            # its calls to the cluster were cut off, or no thread took it any more
            raise StoppingError(why="the request was not done, or not to its end") from error

    def _changed(self, work: Callable[[], T]) -> T:
        """Run a change, once: it may have changed something when it fails. An embedded server that is gone, which
        another daemon may have stopped, is started before.
        """
        if self.services.cluster.is_embedded:
            self.services.cluster.check_health()
        return work()

    def _asked(self, work: Callable[[], T]) -> T:
        """Run a question; once more if the embedded server was gone and could be started again."""
        try:
            return work()
        except ClusterUnreachableError:
            cluster = self.services.cluster
            if not (cluster.is_embedded and cluster.check_health()):
                raise
            return work()

    def require_cluster(self) -> None:
        """The first gate of the original: a cluster is configured (404)."""
        try:
            _ = self.services.cluster.connection
        except NotConnectedError as error:
            raise NotConnectedError(error.what, error.why, error.hint) from error

    def require_login(self) -> None:
        """Both gates of the original: a cluster is configured (404) and knows us (401). Blocking."""
        self.require_cluster()
        try:
            identity = self.services.cluster.identity()
        except ClusterUnreachableError:
            return  # the call itself will say so, unless memory can answer it
        if identity.state is AuthState.LOGGED_OUT:
            raise LoginRequiredError("user unauthenticated", "", "pachmount login")

    def answer(self, body: BaseModel | list[Any] | dict[str, Any]) -> None:
        """Send JSON."""
        self.set_header("Content-Type", "application/json")
        if isinstance(body, BaseModel):
            self.finish(body.model_dump_json() + "\n")
        else:
            self.finish(json.dumps(body) + "\n")

    def fail(self, error: PachmountError, status: int, text: str | None = None) -> None:
        """Send an error: `text` (default: the error's) with `status`, or the whole error as JSON to our clients."""
        if isinstance(error, OverloadedError | StoppingError):
            self.set_header("Retry-After", str(RETRY_AFTER_SECONDS))
            status = error.http_status
        if self.is_own_client:
            self.set_status(error.http_status)
            self.answer(schema.ErrorAnswer(**error.to_dict()))
            return
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish((text or str(error)) + "\n")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, PachmountError):
            self.fail(error, self.compatible_status(error) if self.compatible else error.http_status)
        elif isinstance(error, tornado.web.HTTPError) and status_code == http.client.BAD_REQUEST:
            self.fail(UsageError("the request cannot be read", error.log_message or ""), status_code)
        elif isinstance(error, tornado.web.HTTPError):  # the wrong method
            self.clear_header("Content-Type")
            self.finish()
        else:
            bug = InternalError("unforeseen error in the daemon", repr(error), "see: pachmount daemon logs")
            self.fail(bug, status_code)

    def compatible_status(self, error: PachmountError) -> int:
        """The original knows only 400, 401, 404 (no cluster) and 500, and lets everybody in."""
        if isinstance(error, NotConnectedError | LoginRequiredError | AccessDeniedError) or error.http_status == 400:
            return error.http_status
        return 500

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if isinstance(value, PachmountError):
            log.info("%s %s: %s", self.request.method, self.request.path, value)
        else:
            super().log_exception(typ, value, tb)


class UnknownPath(Handler):
    """Every path that is no route."""

    def prepare(self) -> None:
        super().prepare()
        self.set_status(404)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish("404 page not found\n")


def number_of(text: str, default: int) -> int:
    """How many of something a query asks for; UsageError if it is not 1 to MAX_NUMBER."""
    if not text:
        return default
    if not text.isdecimal() or len(text) > MAX_DIGITS or not 1 <= int(text) <= MAX_NUMBER:
        raise UsageError(f"invalid number '{text}'", f"it is 1 to {MAX_NUMBER}")
    return int(text)


def whole_number(text: str, name: str) -> int:
    """A number of a query; UsageError for anything else."""
    if not text.isdecimal() or len(text) > MAX_DIGITS:
        raise UsageError(f"invalid '{name}={text[:40]}'", "it is a whole number")
    return int(text)
