"""Sweeping while the server runs: only in moments in which nobody calls, and giving way as soon as somebody does.

A call holds on to pages and chunks that nothing in the database may refer to any more, or not yet. So a sweep waits
until no call is running, and calls that come meanwhile wait until it has given up or is done.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from pachmount.errors import DataError
from pachmount.localpfs import rpc
from pachmount.localpfs.store import Store

LOOK_SECONDS = 30.0
QUIET_SECONDS = 5.0
# These may last for ever, and look at rows only or at nothing in the store.
_NOT_COUNTED = ("SubscribeCommit", "InspectCommit", "InspectCommitSet", "Authenticate")

_log = logging.getLogger(__name__)


class Calls:
    """Counts the calls that run, and keeps new ones out while somebody has to be alone."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._running = 0
        self._waiting = 0
        self._alone = False
        self._last = time.monotonic()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Around a call."""
        with self._condition:
            self._waiting += 1
            while self._alone:
                self._condition.wait()
            self._waiting -= 1
            self._running += 1
        try:
            yield
        finally:
            with self._condition:
                self._running -= 1
                self._last = time.monotonic()

    @contextmanager
    def alone(self, quiet: float) -> Iterator[Callable[[], bool] | None]:
        """Keep calls out, if there was none for `quiet` seconds; gives a function that tells whether none is waiting.

        Gives None if it is not quiet.
        """
        with self._condition:
            self._alone = not self._running and time.monotonic() - self._last >= quiet
            alone = self._alone
        try:
            yield (lambda: not self._waiting) if alone else None
        finally:
            with self._condition:
                self._alone = False
                self._condition.notify_all()


class Counting(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Makes every call count."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> rpc.Handler:
        handler: rpc.Handler = continuation(handler_call_details)
        if handler is None or handler_call_details.method.rpartition("/")[2] in _NOT_COUNTED:
            return handler
        return rpc.inside(handler, lambda _: self._calls.one())


@contextmanager
def sweeping(store: Store, calls: Calls) -> Iterator[None]:
    """Sweep in quiet moments for the length of the block."""
    stop = threading.Event()
    thread = threading.Thread(target=_sweep_when_quiet, args=(store, calls, stop), name="sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def _sweep_when_quiet(store: Store, calls: Calls, stop: threading.Event) -> None:
    while not stop.wait(LOOK_SECONDS):
        try:
            if store.database.ledger.is_due:
                store.database.ledger.rotate()  # which keeps nobody waiting
            if not store.needs_sweep():
                continue
            with calls.alone(QUIET_SECONDS) as undisturbed:
                if undisturbed is not None:
                    store.sweep(lambda undisturbed=undisturbed: undisturbed() and not stop.is_set())  # type: ignore[misc]
        except (DataError, OSError, sqlite3.Error) as error:
            _log.warning("cannot remove what is not needed from the store: %s", error)
            return  # the next start tries again
