"""The workers, seen from the program that has started them."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass, field

from pachmount.errors import PachmountError
from pachmount.namespace import syscalls
from pachmount.running import worker
from pachmount.running.command import StopError, children
from pachmount.running.messages import Order, Outcome
from pachmount.running.worker import Setup

STOP_SECONDS = 5.0
_PAUSE = 0.01


@dataclass
class _Worker:
    pid: int
    channel: socket.socket
    datum: str = ""
    received: bytearray = field(default_factory=bytearray)


class Pool:
    """Some processes that run one datum each at a time. Make it before there are threads; a context manager."""

    def __init__(self, setup: Setup, number: int) -> None:
        self._workers: list[_Worker] = []
        self._others: set[int] | None = None
        syscalls.adopt_orphans()  # what a worker leaves behind that is killed
        self._selector = selectors.DefaultSelector()
        for _ in range(number):
            self._workers.append(_fork(setup, self._workers))
        for one in self._workers:
            self._selector.register(one.channel, selectors.EVENT_READ, one)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def idle(self) -> int:
        """How many could begin a datum now."""
        return sum(not one.datum for one in self._workers)

    @property
    def busy(self) -> int:
        return len(self._workers) - self.idle

    def begin(self, order: Order) -> None:
        """Have an idle worker run a datum."""
        if self._others is None:
            self._others = set(children()) - {one.pid for one in self._workers}
        chosen = next(one for one in self._workers if not one.datum)
        chosen.datum = order.datum
        with contextlib.suppress(BrokenPipeError):  # `wait` tells that it is gone
            chosen.channel.sendall(order.encode())

    def wait(self, timeout: float | None = None) -> list[Outcome]:
        """Outcomes of datums, at least one unless time has passed. Raises PachmountError when no worker is left."""
        outcomes = []
        for key, _ in self._selector.select(timeout):
            outcome = self._receive(key.data)
            if outcome is not None:
                outcomes.append(outcome)
        if not self._workers and not outcomes:
            raise PachmountError("all workers have ended", "somebody killed them, or memory ran out", "use fewer: -j 1")
        return outcomes

    def stop(self) -> None:
        """End the workers and all that they run. May be called again."""
        self._selector.close()
        for one in self._workers:
            one.channel.close()
            _signal(one.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for one in self._workers:
            while not _has_ended(one.pid):
                if time.monotonic() > deadline:
                    _signal(one.pid, signal.SIGKILL)
                time.sleep(_PAUSE)
        self._workers.clear()

    def _receive(self, one: _Worker) -> Outcome | None:
        try:
            data = one.channel.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            return self._lost(one)
        one.received += data
        if not one.received.endswith(b"\n"):
            return None
        outcome = Outcome.decode(bytes(one.received))
        one.received.clear()
        one.datum = ""
        return outcome

    def _lost(self, one: _Worker) -> Outcome | None:
        self._selector.unregister(one.channel)
        self._workers.remove(one)
        one.channel.close()
        _signal(one.pid, signal.SIGKILL)
        os.waitpid(one.pid, 0)
        self._end_orphans()
        return Outcome(one.datum, "failed", why="its worker was killed") if one.datum else None

    def _end_orphans(self) -> None:
        """End what ran below a worker that is gone: all our children but workers and those that we had before."""
        while orphans := set(children()) - {one.pid for one in self._workers} - (self._others or set()):
            for pid in orphans:
                _signal(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)


def _fork(setup: Setup, others: list[_Worker]) -> _Worker:
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        theirs.close()
        return _Worker(pid, ours)
    code = 1
    try:
        ours.close()
        for other in others:
            other.channel.close()
        if syscalls.signal_at_parents_end(signal.SIGTERM, parent):
            worker.serve(setup, theirs)
        code = 0
    except StopError:
        code = 0
    except BaseException as error:  # noqa: BLE001 (a copy of our caller must never go on)
        with contextlib.suppress(Exception):
            sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(code)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
