"""Logins that are going on: each has a state, which a browser completes and a call waits for."""

from __future__ import annotations

import secrets
import string
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pachmount.localpfs.status import Code, Refusal, unknown

MAX_WAITING = 32  # calls; each holds a thread
_CHARACTERS = string.ascii_letters + string.digits + "-_"
_STATE_LENGTH = 31
_LOOK_SECONDS = 5.0


@dataclass
class _Login:
    nonce: str
    ends: float
    email: str = ""
    failed: bool = False


class Logins:
    """All states that have been handed out; thread-safe. `lifetime` in seconds, like what `clock` gives."""

    def __init__(self, lifetime: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._condition = threading.Condition()
        self._logins: dict[str, _Login] = {}
        self._waiting = 0
        self._closed = False

    def start(self) -> tuple[str, str]:
        """A new state, and the nonce that goes with it."""
        state, nonce = ("".join(secrets.choice(_CHARACTERS) for _ in range(_STATE_LENGTH)) for _ in range(2))
        now = self._clock()
        with self._condition:
            self._logins = {name: login for name, login in self._logins.items() if login.ends > now}
            self._logins[state] = _Login(nonce, now + self._lifetime)
        return state, nonce

    def complete(self, state: str, nonce: str, email: str) -> bool:
        """The user has logged in; False for a state that is unknown or over. One that has failed stays so."""
        with self._condition:
            login = self._living(state)
            if login is None or login.nonce != nonce:
                return False
            login.email = email
            self._condition.notify_all()
        return True

    def fail(self, state: str) -> None:
        """Somebody came back from the issuer with what it did not give; ends that login for good."""
        with self._condition:
            login = self._living(state)
            if login is not None:
                login.failed = True
                self._condition.notify_all()

    def wait(self, state: str, still_wanted: Callable[[], bool]) -> str:
        """The address of the user who completes a login; as pachd, waits without end for an unknown state.

        Raises Refusal when the login fails or its time is over. Whoever makes `still_wanted` False calls `wake`.
        """
        with self._condition:
            if self._waiting >= MAX_WAITING:
                raise Refusal(Code.RESOURCE_EXHAUSTED, f"more than {MAX_WAITING} calls are waiting for logins")
            self._waiting += 1
            try:
                return self._wait(self._living(state), still_wanted)
            finally:
                self._waiting -= 1

    def wake(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def close(self) -> None:
        """End all waiting, for the last time."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _wait(self, login: _Login | None, still_wanted: Callable[[], bool]) -> str:
        while True:
            if self._closed:
                raise Refusal(Code.UNAVAILABLE, "the server is shutting down")
            if not still_wanted():
                raise Refusal(Code.CANCELLED, "the client has gone")
            patience = _LOOK_SECONDS
            if login is not None:
                if login.failed:
                    raise unknown("authorization failed")
                if login.email:
                    return login.email
                left = login.ends - self._clock()
                if left <= 0:
                    raise unknown("error during authorization: OIDC state token expired")
                patience = min(patience, left)
            self._condition.wait(patience)

    def _living(self, state: str) -> _Login | None:
        login = self._logins.get(state)
        return login if login is not None and login.ends > self._clock() else None
