"""The daemon as the extension knows it: where it is, whether it runs, starting it once, and asking it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from pachmount import __version__, paths
from pachmount.api import schema
from pachmount.cli import process
from pachmount.client import CLUSTER_TIMEOUT, POLL_TIMEOUT
from pachmount.daemon import spawn
from pachmount.errors import ConflictError, DaemonNotRunningError, DaemonUnreachableError, PachmountError, from_dict
from pachmount.glance import START_HINT
from pachmount_lab.connection import Address, Answer, Request, asking

log = logging.getLogger(__name__)
T = TypeVar("T")

START_SECONDS = spawn.READY_TIMEOUT + spawn.WINNER_TIMEOUT + 5.0
"""How long a request waits for a daemon that is being started."""

Condition = Literal["running", "starting", "stopped", "failed", "unreachable", "other-version"]


@dataclass(frozen=True)
class State:
    """What a poll found. `status` is the daemon's own account, None unless it answers."""

    condition: Condition
    error: PachmountError | None = None
    status: dict[str, Any] | None = None


@dataclass(frozen=True)
class Reply:
    """A whole answer of the daemon."""

    status: int
    content_type: str
    body: bytes

    @property
    def is_ok(self) -> bool:
        return self.status == 200

    def json(self) -> Any:
        """The body as JSON. Raises DaemonUnreachableError if it is none."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            why = "its answer is no JSON"
            raise DaemonUnreachableError("something else than the daemon answers", why, "pachmount doctor") from error

    def error(self) -> PachmountError:
        """What the daemon said went wrong, to a request that had CLIENT_HEADERS."""
        return from_dict(self.json())


CLIENT_HEADERS = {schema.CLIENT_HEADER: "1"}
"""For requests of our own, so that errors are the daemon's whole ones."""


@dataclass
class Daemon:
    """The one that the command line would use. For the loop's thread alone.

    One that is not there is started by the first request that needs it, once in the life of this object; after that
    only if somebody asks for it. In sidecar mode, and over TCP, it is never started from here.
    """

    places: paths.Places = field(default_factory=paths.places)
    url: str = field(default_factory=paths.daemon_url)
    started_pid: int | None = None
    """That of the daemon that we started, as long as it may be running."""
    _starting: asyncio.Task[None] | None = None
    _failure: PachmountError | None = None
    _was_seen: bool = False

    def __post_init__(self) -> None:
        if self.url:
            self.address = Address.of_url(self.url, os.environ.get("PACHMOUNT_TOKEN_FILE", ""))
        else:
            self.address = Address(self.places.socket)

    @property
    def is_sidecar(self) -> bool:
        """Whether it is somebody else's to start."""
        return bool(self.url) or paths.sidecar_mode()

    # --- asking

    @contextlib.asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Answer]:
        """The answer to a request as it comes, from a daemon that is started if need be.

        Raises DaemonNotRunningError, DaemonUnreachableError, and what a start may raise.
        """
        if self._starting is not None:
            await self._started(self._starting)
        async with contextlib.AsyncExitStack() as stack:
            try:
                answer = await stack.enter_async_context(asking(self.address, request))
            except DaemonNotRunningError:
                await self._start_first()
                answer = await stack.enter_async_context(asking(self.address, request))
            self._was_seen = True
            yield answer

    async def ask(self, request: Request, limit: float = CLUSTER_TIMEOUT) -> Reply:
        """The whole answer to a request, which must be there within `limit` seconds. Raises as `open`."""
        return await within(limit, request, self._whole(self.open(request)))

    async def get(self, target: str, limit: float = CLUSTER_TIMEOUT) -> Any:
        """The JSON that a route of the daemon answers to GET. Raises as `open`, and the daemon's own errors."""
        reply = await self.ask(Request("GET", target, CLIENT_HEADERS), limit)
        if not reply.is_ok:
            raise reply.error()
        return reply.json()

    async def state(self) -> State:
        """How the daemon is. If it was never there, a start begins, which is not waited for."""
        if self._starting is not None:
            return State("starting")
        try:
            status = await self._status()
        except DaemonNotRunningError as error:
            return self._absent(error)
        except PachmountError as error:
            return State("unreachable", error)
        self._was_seen, self._failure = True, None
        if status["version"] != __version__:
            return self._of_other_version(status)
        return State("running", None, status)

    async def is_healthy(self) -> bool:
        """Whether it runs, without starting it."""
        request = Request("GET", "/health")
        try:
            return (await within(POLL_TIMEOUT, request, self._whole(asking(self.address, request)))).is_ok
        except PachmountError as error:
            log.debug("no daemon: %s", error)
            return False

    # --- its life

    async def start(self) -> None:
        """Start it if it does not run, whatever came of earlier tries. Raises ConflictError in sidecar mode."""
        self._refuse_in_sidecar_mode("start")
        await self._started(self._begin(self._start))

    async def restart(self) -> None:
        """Stop it and start it again; its mounts come back. Raises ConflictError in sidecar mode."""
        self._refuse_in_sidecar_mode("restart")
        await self._started(self._begin(self._restart))

    def stop_if_ours(self) -> None:
        """Stop the daemon if we started it. Blocking, for the end of the process."""
        pid = self.started_pid
        if pid is not None and process.recorded_pid(self.places) == pid and process.is_daemon(pid):
            process.stop(pid)

    async def _status(self) -> dict[str, Any]:
        request = Request("GET", "/status", CLIENT_HEADERS)
        reply = await within(POLL_TIMEOUT, request, self._whole(asking(self.address, request)))
        if not reply.is_ok:
            raise reply.error()
        status = reply.json()
        if not isinstance(status, dict) or not isinstance(status.get("version"), str):
            raise DaemonUnreachableError("something else than the daemon answers", "", "pachmount doctor")
        return status

    async def _whole(self, opened: contextlib.AbstractAsyncContextManager[Answer]) -> Reply:
        async with opened as answer:
            body = await answer.whole()
            return Reply(answer.status, answer.headers.get("Content-Type", "") or "", body)

    def _absent(self, error: DaemonNotRunningError) -> State:
        if self.is_sidecar:
            return State("unreachable", self._elsewhere(error))
        if self._failure is not None:
            return State("failed", self._failure)
        if self._was_seen:
            return State("stopped", DaemonNotRunningError(error.what, "it was stopped, or it died", START_HINT))
        self._begin(self._start)
        return State("starting")

    def _of_other_version(self, status: dict[str, Any]) -> State:
        what = f"the daemon is version {status['version']}, this program {__version__}"
        try:
            schema.StatusAnswer.model_validate(status)
        except ValidationError as error:
            why = f"they do not fit: {error.error_count()} fields differ"
            return State("unreachable", DaemonUnreachableError(what, why, "pachmount daemon restart"))
        return State("other-version", PachmountError(what, "", "pachmount daemon restart"), status)

    async def _start_first(self) -> None:
        """Start the daemon if nobody tried before; raises what keeps it from being there."""
        absent = DaemonNotRunningError("the daemon is not running", f"nothing listens at {self.address}", START_HINT)
        if self.is_sidecar:
            raise self._elsewhere(absent)
        if self._failure is not None:
            raise self._failure
        if self._was_seen:
            raise absent
        await self._started(self._begin(self._start))

    def _elsewhere(self, error: DaemonNotRunningError) -> DaemonNotRunningError:
        return DaemonNotRunningError(
            error.what, f"{error.why}, and it is not ours to start", "there: pachmount daemon run"
        )

    def _refuse_in_sidecar_mode(self, what: str) -> None:
        if self.is_sidecar:
            why = "it runs in another container, or is reached over TCP"
            raise ConflictError(f"cannot {what} the daemon from here", why, f"there: pachmount daemon {what}")

    def _begin(self, work: Callable[[], int | None]) -> asyncio.Task[None]:
        """The start that is under way, or else a new one."""
        if self._starting is None:
            self._failure = None
            self._starting = asyncio.ensure_future(self._try(work))
        return self._starting

    async def _started(self, starting: asyncio.Task[None]) -> None:
        """Wait for a start that is under way; whoever gives up waiting does not end it."""
        done, _ = await asyncio.wait({starting}, timeout=START_SECONDS + process.STOP_TIMEOUT)
        if not done:
            raise DaemonUnreachableError("the daemon is still starting", "", "pachmount daemon logs")
        starting.result()
        if self._failure is not None:
            raise self._failure

    async def _try(self, work: Callable[[], int | None]) -> None:
        try:
            self.started_pid = await asyncio.to_thread(work) or self.started_pid
            self._was_seen = True
        except PachmountError as error:
            log.warning("cannot start the daemon: %s", error)
            self._failure = error
        except OSError as error:
            self._failure = DaemonNotRunningError("cannot start the daemon", str(error), "pachmount doctor")
        finally:
            self._starting = None

    def _start(self) -> int | None:
        """Blocking; the pid if it was us who started it."""
        if spawn.is_listening(self.places.socket):
            return None
        process.check_mount_dir(self.places.mount_dir)
        return process.recorded_pid(self.places) if spawn.ensure_daemon(self.places) else None

    def _restart(self) -> int | None:
        pid = process.recorded_pid(self.places)
        if pid is not None and process.is_daemon(pid):
            process.stop(pid)
        return self._start()


async def within(limit: float, request: Request, answering: Awaitable[T]) -> T:
    """What comes of asking, within so many seconds. Raises DaemonUnreachableError."""
    try:
        return await asyncio.wait_for(answering, limit)
    except asyncio.TimeoutError as error:
        why = f"no answer to {request} within {limit:.0f} s"
        raise DaemonUnreachableError("the daemon does not answer", why, "pachmount daemon restart") from error
