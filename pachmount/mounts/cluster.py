"""The connection to the cluster: chosen by pachctl's config file, exchanged in one step, watched for health."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any, Protocol

from pachmount.errors import (
    ClusterUnreachableError,
    InvalidAddressError,
    NotConnectedError,
    PachmountError,
    StoreDamagedError,
)
from pachmount.pfs.address import parse_address
from pachmount.pfs.client import PfsClient
from pachmount.pfs.contexts import EMBEDDED_CONTEXT, OUR_CONTEXT, Context, ContextFile
from pachmount.pfs.model import AuthState, Identity, RepoInfo
from pachmount.pfs.traffic import Traffic

log = logging.getLogger(__name__)

DIAL_SECONDS = 5.0
HEALTH_SECONDS = 2.0
RECONNECT_SECONDS = 0.1
REPOS_SECONDS = 2.0
IDENTITY_SECONDS = 2.0
"""How long an answer to "who am I" is good for."""


ID_TOKEN_VARIABLE = "DEX_TOKEN"  # noqa: S105 (a name)
"""Where an id token of the cluster's OIDC provider is found, as with the original since 2.8."""


class EmbeddedServer(Protocol):
    """Starts and stops the embedded server."""

    def ensure(self) -> str:
        """See to it that it runs; its address."""

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Connection:
    """A client and where it leads. `client` is thread-safe."""

    context: str
    address: str
    server_cas: str
    embedded: bool
    client: PfsClient


@dataclass(frozen=True)
class ClusterSnapshot:
    """What is known of the cluster at one moment; `unreachable_since` is seconds since the epoch."""

    connection: Connection | None
    version: str
    identity: Identity | None
    unreachable_since: float | None
    error: PachmountError | None


class Cluster:
    """Which cluster we talk to. All methods may be called from any thread; none holds a lock over a call."""

    def __init__(self, contexts: ContextFile, embedded: EmbeddedServer, call_timeout: float) -> None:
        self.traffic = Traffic()
        self._contexts = contexts
        self._embedded = embedded
        self._call_timeout = call_timeout
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._error: PachmountError | None = None
        self._unreachable_since: float | None = None
        self._identity: tuple[float, Identity] | None = None
        self._version = ""
        self._cluster_id: tuple[Connection, str] | None = None
        self._repos: list[RepoInfo] | None = None
        self._asking = ThreadPoolExecutor(2, thread_name_prefix="repos")
        self._asked: tuple[Connection, Future[list[RepoInfo]]] | None = None
        self._exchanged_for: Connection | None = None

    def set_call_timeout(self, seconds: float) -> None:
        """The deadline of every call from now on that has none of its own."""
        self._call_timeout = seconds
        if self._connection is not None:
            self._connection.client.set_call_timeout(seconds)

    def connect(self) -> None:
        """Use what the config file says; a failure is kept for `status` and for the first call that needs a cluster."""
        try:
            context = self._contexts.active()
            self._exchange(self._open(context.name, context))
        except PachmountError as error:
            log.warning("no cluster: %s", error)
            self._error = error

    @property
    def connection(self) -> Connection:
        """The connection in force; NotConnectedError, with the reason, when there is none."""
        connection = self._connection
        if connection is None:
            if isinstance(self._error, StoreDamagedError):  # no other cluster helps to get at what is in it
                self.connect()  # it may have been repaired
                if self._connection is not None:
                    return self._connection
            if isinstance(self._error, StoreDamagedError):
                raise NotConnectedError(self._error.what, self._error.why, self._error.hint)
            why = str(self._error) if self._error is not None else "none is configured"
            raise NotConnectedError("not connected to a cluster", why, "pachmount login ADDRESS")
        return connection

    @property
    def client(self) -> PfsClient:
        return self.connection.client

    @property
    def default_project(self) -> str:
        return self._contexts.active().project

    def cluster_id(self, *, fresh: bool = False) -> str:
        """The id of the cluster that the connection in force leads to; asked for once, and again if `fresh` is set.

        Another server may answer at the same address later on: what depends on that asks anew.
        """
        connection = self.connection
        known = self._cluster_id
        if fresh or known is None or known[0] is not connection:
            known = self._cluster_id = (connection, connection.client.inspect_cluster().id)
        return known[1]

    def identity(self) -> Identity:
        """Who we are to the cluster; asked anew after IDENTITY_SECONDS.

        Fails at once while the cluster is known not to answer: `check_health` notices when it does again.
        """
        client = self.client
        known, error = self._identity, self._error
        if known is not None and time.monotonic() - known[0] < IDENTITY_SECONDS:
            return known[1]
        if self._unreachable_since is not None and error is not None:
            raise error
        try:
            identity = client.identity(HEALTH_SECONDS)
            if identity.state is AuthState.LOGGED_OUT and self._take_other_token():
                identity = client.identity(HEALTH_SECONDS)
        except ClusterUnreachableError as failure:
            self._note_unreachable(failure)
            raise
        self._identity = (time.monotonic(), identity)
        return identity

    def forget_identity(self) -> None:
        """Ask anew who we are at the next occasion."""
        self._identity = None

    def _take_other_token(self) -> bool:
        """Ours is no good (any more): use the one that pachctl, say, put into the file, or one for `DEX_TOKEN`."""
        connection = self.connection
        found = self._contexts.active_token(connection.context)
        if found and found != connection.client.token:
            log.info("using the new session token of context '%s'", connection.context)
            connection.client.set_token(found)
            return True
        id_token = os.environ.get(ID_TOKEN_VARIABLE, "")
        if not id_token or self._exchanged_for is connection:
            return False
        self._exchanged_for = connection
        try:
            self.set_token(connection.client.authenticate(id_token=id_token, timeout=HEALTH_SECONDS))
        except PachmountError as error:
            log.warning("%s cannot be used: %s", ID_TOKEN_VARIABLE, error)
            return False
        return True

    @property
    def is_embedded(self) -> bool:
        connection = self._connection
        return connection is not None and connection.embedded

    def repos(self) -> list[RepoInfo]:
        """All repos; the last ones known, if there are any, when the cluster does not answer in REPOS_SECONDS.

        A question goes on after its caller gave up.
        """
        connection = self.connection
        if self._unreachable_since is not None:
            return self._repos or []
        with self._lock:
            asked = self._asked
            if asked is None or asked[0] is not connection or asked[1].done():
                asked = self._asked = (connection, self._asking.submit(connection.client.list_repos))
        try:
            found = asked[1].result(None if self._repos is None else REPOS_SECONDS)
        except (ClusterUnreachableError, FutureTimeoutError) as error:
            log.debug("listing repos: %s", error)
            return self._repos or []
        if self._connection is connection:
            self._repos = found
        return found

    def switch(self, address: str, server_cas: str, token: str, before_leaving: Callable[[], None]) -> None:
        """Connect to another cluster, then save it as the active context; on failure all stays as it was.

        `before_leaving` is called when the new cluster has answered and the old one is still there.
        """
        parsed = parse_address(address)
        context = Context(OUR_CONTEXT, parsed.qualified, server_cas, token)
        connection = self._open(OUR_CONTEXT, context)
        try:
            _dial(connection)
            before_leaving()
            self._contexts.write_context(OUR_CONTEXT, parsed.qualified, server_cas, session_token=token)
        except BaseException:
            connection.client.close()
            raise
        self._exchange(connection)

    def use_context(self, name: str, before_leaving: Callable[[], None]) -> None:
        """Connect to the cluster of a context in the file, "" = the embedded server, and save that choice.

        Nothing happens if the connection in force leads there. NotFoundError if there is no such context.
        """
        context = self._contexts.get(name) if name else Context(EMBEDDED_CONTEXT)
        if self._is_in_use(context):
            self._save_choice(name)
            return
        connection = self._open(context.name, context)
        try:
            _dial(connection)
            before_leaving()
            self._save_choice(name)
        except BaseException:
            connection.client.close()
            raise
        self._exchange(connection)

    def context_document(self) -> dict[str, Any]:
        """pachctl's file with the context in use alone."""
        return self._contexts.document_of(self.connection.context)

    def _is_in_use(self, context: Context) -> bool:
        connection = self._connection
        if connection is None:
            return False
        if not context.address:
            return connection.embedded
        return connection.context == context.name and self.leads_to(context.address, context.server_cas)

    def _save_choice(self, name: str) -> None:
        if name:
            self._contexts.use(name)
        elif EMBEDDED_CONTEXT not in self._contexts.names() or self._contexts.active().name != EMBEDDED_CONTEXT:
            self._contexts.write_context(EMBEDDED_CONTEXT, "")

    def leads_to(self, address: str, server_cas: str) -> bool:
        """Whether the connection in force is to this address, with this certificate."""
        connection = self._connection
        try:
            qualified = parse_address(address).qualified
        except InvalidAddressError:
            return False
        return connection is not None and (connection.address, connection.server_cas) == (qualified, server_cas)

    def set_token(self, token: str) -> None:
        """Use and save a session token ("" = none) for the connection in force."""
        connection = self.connection
        if connection.context in self._contexts.names():  # an address from the environment may have none
            self._contexts.set_token(connection.context, token)
        connection.client.set_token(token)
        self._identity = None

    def check_health(self) -> bool:
        """Ask the cluster whether it serves, and remember the answer for `status`."""
        connection = self._connection
        if connection is None:
            self.connect()
            connection = self._connection
            if connection is None:
                return False
        try:
            if connection.embedded:
                self._embedded.ensure()
            _ask_health(connection)
            if not self._version:
                self._version = str(connection.client.version())
        except PachmountError as error:
            self._note_unreachable(error)
            return False
        if self._unreachable_since is not None:
            log.info("the cluster answers again")
            self._cluster_id = None  # it may be another one
        self._unreachable_since = self._error = None
        return True

    def _note_unreachable(self, error: PachmountError) -> None:
        self._error = error
        if self._unreachable_since is None:
            self._unreachable_since = time.time()
            log.warning("the cluster does not answer: %s", error)

    def snapshot(self) -> ClusterSnapshot:
        """What is known without asking."""
        connection = self._connection
        identity = self._identity[1] if self._identity is not None else None
        return ClusterSnapshot(connection, self._version, identity, self._unreachable_since, self._error)

    def cut_off(self) -> None:
        """End all calls under way, also those of mounts: the daemon stops, and nobody waits for them any more."""
        connection = self._connection
        if connection is not None:
            connection.client.close()

    def close(self) -> None:
        """End the connection and the embedded server, if it is ours."""
        connection, self._connection = self._connection, None
        self._asking.shutdown(wait=False, cancel_futures=True)
        if connection is not None:
            connection.client.close()
        self._embedded.stop()

    def _open(self, name: str, context: Context) -> Connection:
        embedded = not context.address
        address = self._embedded.ensure() if embedded else context.address
        client = PfsClient(
            address,
            token=context.session_token,
            server_cas=context.server_cas,
            call_timeout=self._call_timeout,
            traffic=self.traffic,
        )
        return Connection(name or EMBEDDED_CONTEXT, address, context.server_cas, embedded, client)

    def _exchange(self, connection: Connection) -> None:
        with self._lock:
            former, self._connection = self._connection, connection
            self._error = self._unreachable_since = self._identity = None
            self._version = ""
            self._repos = None
        if former is not None:
            former.client.close()
            if former.embedded and not connection.embedded:
                self._embedded.stop()


def _ask_health(connection: Connection) -> None:
    """Raise if the cluster does not serve. The embedded server may just have been started: gRPC tries again soon."""
    deadline = time.monotonic() + HEALTH_SECONDS
    while True:
        try:
            connection.client.health(HEALTH_SECONDS)
            return
        except ClusterUnreachableError:
            if not connection.embedded or time.monotonic() > deadline:
                raise
            time.sleep(RECONNECT_SECONDS)


def _dial(connection: Connection) -> None:
    try:
        connection.client.health(DIAL_SECONDS)
        connection.client.version()
    except ClusterUnreachableError as error:
        what = f"could not connect to {connection.address}"
        raise ClusterUnreachableError(what, error.why or error.what, error.hint or "check the address") from error
