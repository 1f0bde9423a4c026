"""Clusters behind TLS: what is trusted, and one clear line for what is not."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from pachmount.errors import ExitCode
from tests.integration.box import Box
from tests.integration.test_rest import ask
from tests.integration.tls_proxy import TlsProxy, authority, expired_certificate
from tests.localpfs.servers import running


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def plain(places: Path) -> Iterator[str]:
    with running(places / "store", "127.0.0.1:0") as server:
        yield server.address


@pytest.fixture(scope="module")
def ours(places: Path) -> tuple[trustme.CA, Path]:
    return authority(places)


@pytest.fixture
def box(new_box: Callable[..., Box]) -> Box:
    return new_box()


def test_a_certificate_of_an_authority_of_its_own(box: Box, plain: str, ours: tuple[trustme.CA, Path]) -> None:
    repo = box.repo()
    box.put(repo, {"/big": bytes(3 << 20), "/f": b"x"}, address=plain)
    with TlsProxy(ours[0].issue_cert("127.0.0.1"), plain) as proxy:
        assert f"connected to {proxy.address}" in box.ok("login", proxy.address, "--server-ca", str(ours[1]))
        box.ok("mount", repo)
        assert box.path(repo, "big").read_bytes() == bytes(3 << 20)
        box.ok("daemon", "restart")
        assert box.path(repo, "f").read_bytes() == b"x"
        certificate = base64.b64encode(ours[1].read_bytes()).decode()
        same = {"pachd_address": proxy.address, "server_cas": certificate}
        assert ask(box, "PUT", "/config", same).json["cluster_status"] == "AUTH_DISABLED"
        assert [mount["name"] for mount in box.status()["mounts"]] == [repo], "the same cluster: nothing changes"
        box.unmount(repo)


@pytest.mark.parametrize(
    ("certificate", "trusted", "told"),
    [
        ("good", "none", "its certificate is not trusted"),
        ("good", "other", "its certificate is not trusted"),
        ("expired", "ours", "its certificate has expired"),
        ("of another name", "ours", "its certificate is for another name"),
    ],
)
def test_what_is_wrong_with_a_certificate(
    box: Box, plain: str, ours: tuple[trustme.CA, Path], places: Path, certificate: str, trusted: str, told: str
) -> None:
    made = {
        "good": ours[0].issue_cert("127.0.0.1"),
        "expired": expired_certificate(ours[0]),
        "of another name": ours[0].issue_cert("pachd.example"),
    }[certificate]
    files = {"none": [], "ours": ["--server-ca", str(ours[1])]}
    files["other"] = ["--server-ca", str(authority(places, "other")[1])]
    before = ask(box, "GET", "/config").json
    with TlsProxy(made, plain) as proxy:
        said = box.refused("login", proxy.address, *files[trusted], code=ExitCode.UNREACHABLE)
    assert told in said, said
    assert len(said.splitlines()) == 2
    assert ask(box, "GET", "/config").json == before


def test_tls_on_one_side_only(box: Box, plain: str, ours: tuple[trustme.CA, Path]) -> None:
    said = box.refused("login", plain.replace("grpc://", "grpcs://"), code=ExitCode.UNREACHABLE)
    assert f"if the server does not use TLS, its address is {plain}" in said
    with TlsProxy(ours[0].issue_cert("127.0.0.1"), plain) as proxy:
        said = box.refused("login", proxy.address.replace("grpcs://", "grpc://"), code=ExitCode.UNREACHABLE)
        assert f"if the server uses TLS, its address is {proxy.address}" in said


def test_certificates_that_are_none_are_refused_at_once(box: Box, plain: str, ours: tuple[trustme.CA, Path]) -> None:
    garbage = base64.b64encode(b"garbage").decode()
    for body in ({"pachd_address": "grpcs://127.0.0.1:1", "server_cas": garbage}, {"server_cas": "%"}):
        answer = ask(box, "PUT", "/config", {"pachd_address": "grpcs://127.0.0.1:1", **body})
        assert answer.status == 500
        assert answer.body.startswith("could not decode server CA certs")
    certificate = base64.b64encode(ours[1].read_bytes()).decode()
    answer = ask(box, "PUT", "/config", {"pachd_address": plain, "server_cas": certificate})
    assert answer.status == 400
    assert "must set pachd_address to grpcs://" in answer.body


def test_another_certificate_for_the_same_address(box: Box, plain: str, ours: tuple[trustme.CA, Path]) -> None:
    with TlsProxy(ours[0].issue_cert("127.0.0.1"), plain) as proxy:
        box.ok("login", proxy.address, "--server-ca", str(ours[1]))
        answer = ask(box, "PUT", "/config", {"pachd_address": proxy.address})
        assert (answer.status, "its certificate is not trusted" in answer.body) == (500, True)
        assert ask(box, "GET", "/config").json["cluster_status"] == "AUTH_DISABLED"
