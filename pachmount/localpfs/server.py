"""The embedded server as a whole: one store, all services, one address."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from pachmount.errors import BusyError, CannotMountError
from pachmount.localpfs import address, rpc, service_cluster
from pachmount.localpfs.access import Access
from pachmount.localpfs.address import Address, TcpAddress, UnixAddress
from pachmount.localpfs.idle import Calls, Counting, sweeping
from pachmount.localpfs.service_commits import MAX_WAITING, CommitService
from pachmount.localpfs.service_datums import DatumService
from pachmount.localpfs.service_files import FileService
from pachmount.localpfs.service_repos import RepoService
from pachmount.localpfs.service_write import WriteService
from pachmount.localpfs.store import Store
from pachmount.paths import make_private_dir

if TYPE_CHECKING:  # importing them takes as long as all else here, and most servers have no users
    from pachmount.localpfs.auth.settings import AuthSettings
    from pachmount.localpfs.auth.system import AuthSystem

_MESSAGE_BYTES = 20 * 1024 * 1024
_STOP_SECONDS = 3.0
_OTHER_CALLS = 128  # that run at the same time; a stream to a slow client counts as long as it lasts
_OPTIONS = [
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    ("grpc.so_reuseport", 0),  # or two servers would share one port
]


def serve(
    root: Path,
    listen: str,
    on_ready: Callable[[str], None],
    *,
    allow_remote: bool = False,
    auth: AuthSettings | None = None,
) -> None:
    """Serve the store in the directory `root` until SIGTERM or SIGINT; to be called in the main thread.

    `auth`: who may do what; without it everybody may do everything. `on_ready` gets the address once calls are
    answered. Raises PachmountError when the server cannot start.
    """
    asked = address.parse(listen, allow_remote=allow_remote)
    make_private_dir(root)
    with _stop_signals() as wait_for_stop:
        store = Store(root)
        try:
            with _running(store, asked, auth) as bound:
                on_ready(bound.public)
                wait_for_stop()
        finally:
            store.close()


@contextlib.contextmanager
def _running(store: Store, asked: Address, settings: AuthSettings | None = None) -> Iterator[Address]:
    calls = Calls()
    interceptors: list[Any] = [Counting(calls)]
    threads = MAX_WAITING + _OTHER_CALLS
    auth: AuthSystem | None = None
    if settings is not None:
        from pachmount.localpfs.auth.system import MAX_LOGINS, AuthSystem

        auth = AuthSystem(settings, store)
        threads += MAX_LOGINS
    methods = services(store, auth)
    if auth is not None:
        interceptors.append(auth.interceptor(methods))
    server = grpc.server(
        ThreadPoolExecutor(max_workers=threads, thread_name_prefix="call"),
        handlers=[
            *(grpc.method_handlers_generic_handler(name, of_service) for name, of_service in methods.items()),
            service_cluster.Rest(),
        ],
        interceptors=interceptors,
        options=_OPTIONS,
    )
    bound = _bind(server, asked)
    server.start()
    try:
        with auth.running() if auth is not None else contextlib.nullcontext(), sweeping(store, calls):
            yield bound
    finally:
        store.news.close()  # calls that wait end by themselves
        server.stop(_STOP_SECONDS).wait(2 * _STOP_SECONDS)
        if isinstance(bound, UnixAddress):
            bound.path.unlink(missing_ok=True)


def services(store: Store, auth: AuthSystem | None) -> dict[str, dict[str, rpc.Handler]]:
    """The methods of every service over a store, by the name of the service."""
    access = auth.guard if auth is not None else Access()
    pfs = (
        RepoService(store, access).methods()
        | CommitService(store, access).methods()
        | FileService(store, access).methods()
        | WriteService(store, access).methods()
    )
    return (
        {"pfs_v2.API": pfs, "pps_v2.API": DatumService(store, access).methods()}
        | service_cluster.services(store)
        | (auth.services() if auth is not None else service_cluster.without_logins())
    )


def _bind(server: grpc.Server, asked: Address) -> Address:
    try:
        if isinstance(asked, TcpAddress):
            return TcpAddress(asked.host, server.add_insecure_port(asked.target))
        address.remove_stale_socket(asked)
        before = os.umask(0o177)  # the socket must not be open to others even for a moment
        try:
            server.add_insecure_port(asked.target)
        finally:
            os.umask(before)
        asked.path.chmod(0o600)
    except RuntimeError as error:
        raise BusyError(f"cannot listen on {asked.public}", "the address is in use or not usable") from error
    except OSError as error:
        raise CannotMountError(f"cannot listen on {asked.public}", error.strerror or str(error)) from error
    return asked


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], object]]:
    """Take over SIGTERM and SIGINT; gives a function that returns after one of them came.

    The bytes are written by the C handler (set_wakeup_fd). One in Python runs in the main thread only, which does not
    notice a signal that another thread got, or that came just before it began to read.
    """
    stops = (signal.SIGTERM, signal.SIGINT)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def wait() -> None:
        while os.read(reader, 1)[0] not in stops:
            pass

    before = {number: signal.signal(number, lambda _number, _frame: None) for number in stops}
    woken = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield wait
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
