"""Id tokens: what the issuer signs to say who somebody is. HMAC, since issuer and verifier are one process."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from pachmount.localpfs.status import Refusal, unknown

CLIENT_ID = "pachyderm"


class Identity(NamedTuple):
    """Who an id token is about, and for how many seconds it is still good."""

    email: str
    left: float


class IdTokens:
    """Signs and verifies id tokens. `lifetime` in seconds; `clock` gives seconds since 1970."""

    def __init__(self, issuer: str, lifetime: float, clock: Callable[[], float] = time.time) -> None:
        self.issuer = issuer
        self.lifetime = lifetime
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def sign(self, email: str, nonce: str) -> str:
        now = self._clock()
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": email,
            "email": email,
            "email_verified": True,
            "nonce": nonce,
            "iat": int(now),
            "exp": now + self.lifetime,
        }
        body = ".".join(_encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
        return f"{body}.{_encode(self._signature(body))}"

    def verify(self, token: str) -> Identity:
        """Who the token is about. Raises Refusal for one that is not ours or over."""
        parts = token.split(".")
        if len(parts) != 3:
            raise _refused(f"oidc: malformed jwt: oidc: malformed jwt, expected 3 parts got {len(parts)}")
        try:
            claims = json.loads(_decode(parts[1]))
            signature = _decode(parts[2])
        except ValueError as error:
            raise _refused("oidc: malformed jwt") from error
        issuer = claims.get("iss", "") if isinstance(claims, dict) else ""
        if issuer != self.issuer:
            raise _refused(f'oidc: id token issued by a different provider, expected "{self.issuer}" got "{issuer}"')
        if not hmac.compare_digest(signature, self._signature(f"{parts[0]}.{parts[1]}")):
            raise _refused("failed to verify signature")
        return self._identity(claims)

    def _identity(self, claims: dict[str, Any]) -> Identity:
        left = float(claims["exp"]) - self._clock()
        if left <= 0:
            raise _refused("oidc: token is expired")
        return Identity(str(claims["email"]), left)

    def _signature(self, body: str) -> bytes:
        return hmac.digest(self._key, body.encode(), hashlib.sha256)


def _refused(text: str) -> Refusal:
    return unknown(f"could not verify token: {text}")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("not base64") from error
