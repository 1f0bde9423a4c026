"""Server streams with what gRPC lacks: an idle timeout per message, cancelling, and errors of our own kind."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import grpc

from pachmount.errors import ClusterTimeoutError, PachmountError
from pachmount.pfs.status import to_error

T = TypeVar("T")

_LINGER_S = 5.0


class MessageStream(Generic[T]):
    """The messages of one server stream, for one reading thread at a time.

    Waiting longer than `idle_s` seconds for a message raises ClusterTimeoutError; the time that the reader spends
    between messages does not count. After `cancel` the iteration simply ends. `on_expiry` is told since when (monotonic
    seconds) a message was waited for that did not come in time.
    """

    def __init__(
        self,
        call: Any,
        watchdog: Watchdog,
        idle_s: float,
        address: str,
        on_failure: Callable[[PachmountError], None],
        on_expiry: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`on_failure` hears of the error that ends the stream before its reader does."""
        self.idle_s = idle_s
        self.waiting_since: float | None = None
        self.heard_at = 0.0
        self.ended = False
        self._call = call
        self._watchdog = watchdog
        self._address = address
        self._on_failure = on_failure
        self._on_expiry = on_expiry
        self._cancelled = False
        self._expired = False
        watchdog.add(self)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        self.waiting_since = time.monotonic()
        try:
            message: T = next(self._call)
        except StopIteration:
            self._end()
            raise
        except grpc.RpcError as error:
            self._end()
            if self._cancelled:
                raise StopIteration from None
            failure = self._translated(error)
            self._on_failure(failure)
            raise failure from error
        finally:
            self.waiting_since = None
        self.heard_at = time.monotonic()
        return message

    def cancel(self) -> None:
        """Stop the transfer; an iteration under way, also in another thread, ends at once."""
        self._cancelled = True
        self._end()
        self._call.cancel()

    def expire(self) -> None:
        """Stop the transfer because no message came in time (called by the watchdog)."""
        self._expired = True
        since = self.waiting_since
        if since is not None:
            self._on_expiry(since)
        self._call.cancel()

    def _end(self) -> None:
        self.ended = True
        self._watchdog.remove(self)

    def _translated(self, error: grpc.RpcError) -> PachmountError:
        if self._expired:
            what = f"no answer from the cluster at {self._address}"
            return ClusterTimeoutError(what, f"nothing came for {self.idle_s:g} s")
        return to_error(error, self._address)


class Watchdog:
    """One thread that ends streams which wait too long; it runs only while there are some.

    It holds the streams weakly, so that one which its reader forgot is still cancelled by being collected.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._streams: weakref.WeakSet[MessageStream[Any]] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, stream: MessageStream[Any]) -> None:
        """Watch a stream until it is removed or collected."""
        with self._condition:
            self._streams.add(stream)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pfs-watchdog", daemon=True)
                self._thread.start()
            else:
                self._condition.notify()

    def remove(self, stream: MessageStream[Any]) -> None:
        """Stop watching a stream."""
        with self._condition:
            self._streams.discard(stream)

    def close(self) -> None:
        """End the thread; streams are no longer watched."""
        with self._condition:
            self._closed = True
            self._condition.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                late, wake_in = self._check()
                if not late:
                    self._condition.wait(wake_in)
                    if self._closed or (wake_in == _LINGER_S and not self._streams):
                        self._thread = None
                        return
            for stream in late:
                stream.expire()
            del late

    def _check(self) -> tuple[list[MessageStream[Any]], float]:
        """The streams that are past their time, and the seconds until the next may be."""
        now = time.monotonic()
        late, wake_in = [], _LINGER_S
        for stream in list(self._streams):
            since = stream.waiting_since
            remaining = stream.idle_s if since is None else since + stream.idle_s - now
            if remaining <= 0:
                late.append(stream)
                self._streams.discard(stream)
            else:
                wake_in = min(wake_in, remaining)
        return late, wake_in
