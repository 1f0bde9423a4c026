"""Cluster addresses: what is accepted, what is refused, what gRPC dials."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pachmount.errors import InvalidAddressError
from pachmount.pfs.address import parse_address


@pytest.mark.parametrize(
    ("text", "host", "port", "secure", "qualified"),
    [
        ("pachyderm.com", "pachyderm.com", 30650, False, "grpc://pachyderm.com:30650"),
        ("127.0.0.1:80", "127.0.0.1", 80, False, "grpc://127.0.0.1:80"),
        ("http://pachyderm.com:80", "pachyderm.com", 80, False, "grpc://pachyderm.com:80"),
        ("https://pachyderm.com:80", "pachyderm.com", 80, True, "grpcs://pachyderm.com:80"),
        ("https://pachyderm.com", "pachyderm.com", 30650, True, "grpcs://pachyderm.com:30650"),
        ("GRPCS://Pachyderm.com:443", "pachyderm.com", 443, True, "grpcs://pachyderm.com:443"),
        ("grpcs://[::1]:80", "::1", 80, True, "grpcs://[::1]:80"),
        ("[::1]", "::1", 30650, False, "grpc://[::1]:30650"),
        ("[::1]:80", "::1", 80, False, "grpc://[::1]:80"),
        ("bad_address", "bad_address", 30650, False, "grpc://bad_address:30650"),
        ("  localhost \n", "localhost", 30650, False, "grpc://localhost:30650"),
    ],
)
def test_accepted(text: str, host: str, port: int, secure: bool, qualified: str) -> None:
    address = parse_address(text)
    assert (address.host, address.port, address.secure, address.qualified) == (host, port, secure, qualified)
    assert address.target == "dns:///" + qualified.partition("://")[2]
    assert parse_address(qualified) == address


def test_unix() -> None:
    address = parse_address("unix:///tmp/socket")
    assert (address.scheme, address.socket_path, address.secure) == ("unix", "/tmp/socket", False)
    assert address.qualified == address.target == str(address) == "unix:///tmp/socket"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no pachd address specified"),
        ("  ", "no pachd address specified"),
        ("ftp://host", "unrecognized scheme in pachd address: ftp"),
        ("grpc://pachyderm.com:80/", "should not include a path"),
        ("host/path", "should not include a path"),
        ("grpc://pachyderm.com:80?foo", "should not include a query string"),
        ("grpc://pachyderm.com:80?", "should not include a query string"),
        ("grpc://pachyderm.com:80#foo", "should not include a fragment"),
        ("grpc://user@pachyderm.com:80", "should not include login credentials"),
        ("grpc://user:pass@pachyderm.com:80", "should not include login credentials"),
        ("unix:tmp/socket", "could not parse pachd address"),
        ("unix://relative", "a unix address is"),
        ("grpc://", "it has no host"),
        ("grpc://:80", "it has no host"),
        ("host:", "no usable port"),
        ("host:0", "no usable port"),
        ("host:65536", "could not parse pachd address"),
        ("host:http", "could not parse pachd address"),
        ("::1", "could not parse pachd address"),
        ("[::1", "could not parse pachd address"),
        ("two words", "could not parse pachd address"),
        ("höst", "could not parse pachd address"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidAddressError) as caught:
        parse_address(text)
    assert reason in str(caught.value)
    assert "pass" not in str(caught.value).replace("password", "").replace("passed", "")


def test_the_command_line_does_not_pay_for_grpc() -> None:
    code = "import sys, pachmount.pfs.address, pachmount.pfs.contexts; assert 'grpc' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
