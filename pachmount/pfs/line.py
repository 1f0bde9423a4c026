"""The connections to one cluster: one in use, and those that went silent, kept until what runs on them has ended.

A connection may die without a sign: a laptop slept, a router or a VPN forgot it. Calls on it then time out one after
another, while a new connection would work. So a connection on which nothing was heard for the whole time of a call that
ran out of time is not used for further calls. What runs on it goes on, since it may merely be slow.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import grpc

from pachmount.pfs.streams import MessageStream

MAX_SILENT = 4
"""Silent connections that are kept for what runs on them; of more the oldest is closed."""
GRACE = 5.0
"""Seconds after which a silent connection without calls is closed: a call may just have been about to start."""


class Line:
    """One gRPC channel, what runs on it, and when something was heard on it last."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.heard_at = 0.0
        self.silent_since = 0.0
        self._channel = channel
        self._lock = threading.Lock()
        self._methods: dict[tuple[str, Any], Any] = {}
        self._streams: weakref.WeakSet[MessageStream[Any]] = weakref.WeakSet()
        self._uploads: list[grpc.Future[Any]] = []

    def method(self, path: str, kind: str, decode: Callable[[bytes], Any], encode: Any) -> Any:
        """The callable for one method; `kind` such as unary_stream."""
        found = self._methods.get((path, decode))
        if found is None:
            make = getattr(self._channel, kind)
            found = self._methods[path, decode] = make(path, request_serializer=encode, response_deserializer=decode)
        return found

    def hear(self) -> None:
        """Note that an answer came."""
        self.heard_at = time.monotonic()

    def add_stream(self, stream: MessageStream[Any]) -> None:
        with self._lock:
            self._streams.add(stream)

    def add_upload(self, answer: grpc.Future[Any]) -> None:
        with self._lock:
            self._uploads = [each for each in self._uploads if not each.done()] + [answer]

    @property
    def last_heard(self) -> float:
        with self._lock:
            return max([self.heard_at, *(stream.heard_at for stream in self._streams)])

    @property
    def is_idle(self) -> bool:
        with self._lock:
            return all(each.ended for each in self._streams) and all(each.done() for each in self._uploads)

    def close(self) -> None:
        self._channel.close()


class Lines:
    """Thread-safe. `open_channel` makes a channel; it is called when the first call needs one."""

    def __init__(self, open_channel: Callable[[], grpc.Channel]) -> None:
        self._open_channel = open_channel
        self._lock = threading.Lock()
        self._current: Line | None = None
        self._silent: list[Line] = []
        self._closed = False

    def current(self) -> Line | None:
        """The connection for a new call; None once closed."""
        with self._lock:
            if self._closed:
                return None
            if self._silent:
                self._close_some()
            if self._current is None:
                self._current = Line(self._open_channel())
            return self._current

    def timed_out(self, line: Line, started: float) -> None:
        """A call that began at `started` (monotonic seconds) had no answer in time: use another connection from now on,
        unless something else was heard on this one meanwhile.
        """
        with self._lock:
            if line is self._current and line.last_heard < started:
                line.silent_since = time.monotonic()
                self._current = None
                self._silent.append(line)

    def close(self) -> None:
        """Close all; calls under way fail."""
        with self._lock:
            self._closed = True
            lines = [*self._silent, *([self._current] if self._current is not None else [])]
            self._silent, self._current = [], None
        for line in lines:
            line.close()

    def _close_some(self) -> None:
        latest = time.monotonic() - GRACE
        surplus = self._silent[:-MAX_SILENT]
        for line in list(self._silent):
            if line in surplus or (line.silent_since < latest and line.is_idle):
                self._silent.remove(line)
                line.close()
