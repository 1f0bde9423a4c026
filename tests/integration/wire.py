"""A mount whose cluster is behind two proxies: daemon → bytes → calls → server."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.box import Box, Server
from tests.integration.call_proxy import CallProxy
from tests.integration.proxy import ByteProxy


def data(seed: int | str, size: int) -> bytes:
    """The same random bytes for the same seed."""
    return random.Random(f"{seed}").randbytes(size)


@dataclass
class Wire:
    """`box`'s daemon reaches `server` through `bytes`, then `calls`; `put` goes past them."""

    box: Box
    server: Server = field(init=False)
    calls: CallProxy = field(init=False)
    bytes: ByteProxy = field(init=False)

    def __post_init__(self) -> None:
        self.server = self.box.server()
        self.calls = CallProxy(self.server.address)
        self.bytes = ByteProxy(self.calls.address)

    def login(self, box: Box | None = None) -> None:
        """Start the daemon; it uses this cluster from now on."""
        (box or self.box).ok("login", self.bytes.address)

    def put(self, repo: str, files: Mapping[str, bytes], branch: str = "master") -> str:
        return self.box.put(repo, files, branch, address=self.server.address)

    def mounted(self, files: Mapping[str, bytes], stem: str = "r") -> Path:
        """A new repo with these files, mounted and listed; where."""
        repo = self.box.repo(stem, self.server.address)
        self.put(repo, files)
        self.box.mount(repo)
        self.box.listed(repo)
        return self.box.path(repo)

    def heal(self) -> None:
        """End all faults."""
        self.calls.fault = None
        self.bytes.heal()

    def close(self) -> None:
        self.heal()
        self.bytes.close()
        self.calls.close()
