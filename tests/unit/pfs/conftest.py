"""A fake cluster on a unix socket and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_cluster import FakeServer, serving
from http2_peer import Peer

from pachmount.pfs.client import PfsClient


@pytest.fixture
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "s"


@pytest.fixture
def fake(socket_path: Path) -> Iterator[FakeServer]:
    server = FakeServer()
    with serving(server, f"unix:{socket_path}"):
        yield server


@pytest.fixture(params=["sockets", "grpcio"])
def client(request: pytest.FixtureRequest, socket_path: Path, fake: FakeServer) -> Iterator[PfsClient]:
    """Streams of content come over sockets of our own or, where those do not work, by grpcio: both act the same."""
    with PfsClient(f"unix://{socket_path}", call_timeout=10.0) as client:
        client._rpc._sockets.usable = request.param == "sockets"
        yield client


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A server that a test lets send HTTP/2 frames of its choice."""
    peer = Peer()
    yield peer
    peer.close()
