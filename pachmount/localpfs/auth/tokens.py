"""Tokens: strings that stand for a principal, for a while or for ever. They are kept in memory."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from pachmount.localpfs.status import Code, Refusal

_SWEEP_SECONDS = 24 * 3600.0  # that an expired token is known for


@dataclass(frozen=True)
class Caller:
    """Whom a token stands for; `expires` in seconds since 1970, None for never."""

    principal: str
    expires: float | None


class Tokens:
    """All tokens that the server accepts or has accepted; thread-safe. `clock` gives seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._callers: dict[str, Caller] = {}

    def add(self, token: str, principal: str, lifetime: float | None = None) -> None:
        """Accept this token for `lifetime` seconds; None is for ever."""
        now = self._clock()
        with self._lock:
            self._sweep(now - _SWEEP_SECONDS)
            self._callers[token] = Caller(principal, None if lifetime is None else now + lifetime)

    def issue(self, principal: str, lifetime: float | None = None) -> str:
        """A new token for `lifetime` seconds; None is for ever."""
        token = uuid.uuid4().hex
        self.add(token, principal, lifetime)
        return token

    def caller(self, token: str) -> Caller:
        """Whom the token stands for. Raises Refusal for one that is unknown, revoked or expired."""
        with self._lock:
            found = self._callers.get(token)
        if found is None:
            raise Refusal(
                Code.UNAUTHENTICATED, "provided auth token is corrupted or has expired (try logging in again)"
            )
        if found.expires is not None and found.expires <= self._clock():
            raise Refusal(Code.INTERNAL, "token expiration is in the past")
        return found

    def revoke(self, token: str) -> int:
        """Forget a token; how many those were."""
        with self._lock:
            return 0 if self._callers.pop(token, None) is None else 1

    def revoke_all(self, principal: str) -> int:
        """Forget all tokens of a principal; how many those were."""
        with self._lock:
            gone = [token for token, caller in self._callers.items() if caller.principal == principal]
            for token in gone:
                del self._callers[token]
        return len(gone)

    def sweep(self) -> None:
        """Forget the tokens that have expired, which count as unknown from then on."""
        with self._lock:
            self._sweep(self._clock())

    def _sweep(self, before: float) -> None:
        gone = [token for token, caller in self._callers.items() if caller.expires and caller.expires <= before]
        for token in gone:
            del self._callers[token]
