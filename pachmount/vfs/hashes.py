"""The server's hash of a file's content, where it can be computed from the bytes alone."""

from __future__ import annotations

from hashlib import blake2b

VERIFIABLE_BYTES = 1_000_000
"""Below this size a hash is B(B(content)), so that a download can be checked (wire-api.md section 5)."""


def content_hash(data: bytes | memoryview) -> bytes:
    """The server's hash of a file smaller than VERIFIABLE_BYTES."""
    if not data:
        return blake2b(b"", digest_size=32).digest()
    return blake2b(blake2b(data, digest_size=32).digest(), digest_size=32).digest()
