"""Wrong servers and certificates: an error a person understands, soon, and a hint that helps."""

from __future__ import annotations

import base64
import http.server
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from fake_cluster import FakeServer, serving

from pachmount.errors import ClusterUnreachableError, ConfigurationError
from pachmount.pfs.address import parse_address
from pachmount.pfs.channel import decode_certificates, open_channel
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import ClusterVersion
from pachmount.pfs.proto import version_pb2


def failure(address: str, server_cas: str = "") -> ClusterUnreachableError:
    start = time.monotonic()
    with (
        PfsClient(address, server_cas=server_cas, call_timeout=10.0, retry_for=0.5) as client,
        pytest.raises(ClusterUnreachableError) as caught,
    ):
        client.version()
    assert time.monotonic() - start < 8
    assert address in caught.value.what
    return caught.value


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def web_port() -> Iterator[int]:
    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority (ca.pem) and a certificate of 127.0.0.1 signed by it (key.pem, cert.pem)."""
    home = tmp_path_factory.mktemp("tls")
    (home / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    commands = [
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out req.pem",
        "x509 -req -in req.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out cert.pem",
    ]
    for command in commands:
        try:
            subprocess.run(["openssl", *command.split()], cwd=home, check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("needs the openssl program")
    return home


@pytest.fixture
def tls_port(certificates: Path) -> Iterator[int]:
    fake = FakeServer()
    answer = version_pb2.Version(major=2, minor=11, micro=6).SerializeToString()
    fake.unary("GetVersion", lambda request, context: answer)
    pair = ((certificates / "key.pem").read_bytes(), (certificates / "cert.pem").read_bytes())
    with serving(fake, "127.0.0.1:0", grpc.ssl_server_credentials([pair])) as port:
        yield port


@pytest.fixture
def server_cas(certificates: Path) -> str:
    return base64.b64encode((certificates / "ca.pem").read_bytes()).decode()


def test_nobody_listens(free_port: int) -> None:
    error = failure(f"grpc://127.0.0.1:{free_port}")
    assert "refused" in error.why


def test_no_socket(tmp_path: Path) -> None:
    assert failure(f"unix://{tmp_path}/none").why


def test_unknown_host() -> None:
    failure("grpc://host.invalid:30650")


def test_a_web_server(web_port: int) -> None:
    error = failure(f"grpc://127.0.0.1:{web_port}")
    assert "not a Pachyderm cluster" in error.hint


def test_a_plain_server_at_a_tls_address(web_port: int) -> None:
    error = failure(f"grpcs://127.0.0.1:{web_port}")
    assert f"grpc://127.0.0.1:{web_port}" in error.hint


def test_another_grpc_server(tmp_path: Path) -> None:
    fake = FakeServer()
    fake.unary("GetVersion", lambda request, context: context.abort(grpc.StatusCode.UNIMPLEMENTED, "unknown service x"))
    with serving(fake, f"unix:{tmp_path}/s"):
        assert "not a Pachyderm cluster" in failure(f"unix://{tmp_path}/s").hint


def test_tls(tls_port: int, server_cas: str) -> None:
    with PfsClient(f"grpcs://127.0.0.1:{tls_port}", server_cas=server_cas) as client:
        assert client.version() == ClusterVersion(2, 11, 6)


def test_tls_with_an_unknown_authority(tls_port: int) -> None:
    error = failure(f"grpcs://127.0.0.1:{tls_port}")
    assert "--server-ca" in error.hint


def test_tls_at_a_plain_address(tls_port: int) -> None:
    error = failure(f"grpc://127.0.0.1:{tls_port}")
    assert f"grpcs://127.0.0.1:{tls_port}" in error.hint


@pytest.mark.parametrize(
    "text", ["%%%", base64.b64encode(b"no certificate").decode(), base64.b64encode(b"\xff").decode()]
)
def test_bad_certificates(text: str) -> None:
    with pytest.raises(ConfigurationError, match="could not decode server CA certs"):
        decode_certificates(text)


def test_certificates_without_tls() -> None:
    with pytest.raises(ConfigurationError, match="must set pachd_address to grpcs"):
        open_channel(parse_address("grpc://h"), "x")
