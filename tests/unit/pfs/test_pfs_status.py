"""Every failure of a cluster becomes one error of our tree, with the server's own words."""

from __future__ import annotations

import grpc
import pytest

from pachmount import errors
from pachmount.pfs.status import is_file_missing, is_transient, to_error

C = grpc.StatusCode
ADDRESS = "grpc://cluster:30650"


class Failure(grpc.RpcError, grpc.Call):
    def __init__(self, code: grpc.StatusCode, text: str | None) -> None:
        self._code = code
        self._text = text

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._text


Failure.__abstractmethods__ = frozenset()


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (C.NOT_FOUND, "file /x not found in repo p/r at commit c", errors.NotFoundError),
        (C.NOT_FOUND, 'branch (id=0, branch=p/r@m) not found\nbranch "m" not found in repo p/r', errors.NotFoundError),
        (C.ALREADY_EXISTS, "repo p/r already exists", errors.AlreadyExistsError),
        (C.UNAUTHENTICATED, "no authentication token (try logging in)", errors.LoginRequiredError),
        (C.UNAUTHENTICATED, "provided auth token is corrupted or has expired", errors.LoginRequiredError),
        (C.INTERNAL, "token expiration is in the past", errors.LoginRequiredError),
        (C.INTERNAL, "something else", errors.ClusterError),
        (C.PERMISSION_DENIED, "robot:x is not authorized to perform this operation", errors.NotPermittedError),
        (C.UNKNOWN, "list datum: robot:x is not authorized to perform this operation", errors.NotPermittedError),
        (C.UNKNOWN, "get file: no role binding exists for REPO p/nope", errors.NotPermittedError),
        (C.UNAVAILABLE, "commit p/r@c not finished", errors.BusyError),
        (C.UNKNOWN, "start commit in transaction: parent commit p/r@c has not been finished", errors.BusyError),
        (C.UNKNOWN, "base commit p/r@c unfinished", errors.BusyError),
        (C.UNAVAILABLE, "Socket closed", errors.ClusterUnreachableError),
        (C.DEADLINE_EXCEEDED, "Deadline Exceeded", errors.ClusterTimeoutError),
        (C.CANCELLED, "Channel closed!", errors.ClusterUnreachableError),
        (C.RESOURCE_EXHAUSTED, "write /data/x: no space left on device", errors.StorageFullError),
        (C.RESOURCE_EXHAUSTED, "too many requests", errors.ClusterUnreachableError),
        (C.INTERNAL, "Received RST_STREAM with error code 2", errors.ClusterUnreachableError),
        (C.UNKNOWN, "Stream removed", errors.ClusterUnreachableError),
        (C.UNKNOWN, "get chunk: read tcp: connection reset by peer", errors.ClusterUnreachableError),
        (C.RESOURCE_EXHAUSTED, "grpc: received message larger than max", errors.ClusterError),
        (C.UNKNOWN, "commit p/r@c has already finished", errors.ClusterError),
        (C.UNKNOWN, "path (/a+b) invalid: globbing character (+) not allowed in path", errors.InvalidPathError),
        (C.UNKNOWN, "only printable ASCII characters allowed", errors.InvalidPathError),
        (C.UNKNOWN, "name (a b) invalid: only alphanumeric characters", errors.UsageError),
        (C.INVALID_ARGUMENT, "validate request: invalid X", errors.UsageError),
        (C.FAILED_PRECONDITION, "cannot delete project p", errors.ClusterError),
        (C.UNIMPLEMENTED, "the auth service is not activated", errors.ClusterError),
        (C.UNIMPLEMENTED, "unknown service pfs_v2.API", errors.ClusterUnreachableError),
        (C.UNIMPLEMENTED, "Received http2 header with status: 404", errors.ClusterUnreachableError),
        (C.UNKNOWN, None, errors.ClusterError),
    ],
)
def test_mapping(code: grpc.StatusCode, text: str | None, expected: type[errors.PachmountError]) -> None:
    error = to_error(Failure(code, text), ADDRESS)
    assert type(error) is expected
    assert error.what


@pytest.mark.parametrize("code", [C.NOT_FOUND, C.UNKNOWN, C.PERMISSION_DENIED, C.INVALID_ARGUMENT])
def test_the_servers_text_is_kept(code: grpc.StatusCode) -> None:
    text = "rpc error: code = NotFound desc = repo p/r not found"
    assert to_error(Failure(code, text), ADDRESS).what == "repo p/r not found"


def test_login_hint() -> None:
    assert to_error(Failure(C.UNAUTHENTICATED, "x"), ADDRESS).hint == "pachmount login"


def test_a_stack_trace_is_not_shown() -> None:
    assert to_error(Failure(C.ABORTED, "panic: x\ngoroutine 1"), ADDRESS).what == "panic: x"


def test_unreachable_says_where_and_why() -> None:
    text = (
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "
        "Failed to connect to remote host: connect: Connection refused (111)"
    )
    error = to_error(Failure(C.UNAVAILABLE, text), ADDRESS)
    assert error.what == f"cannot reach the cluster at {ADDRESS}"
    assert error.why == "Failed to connect to remote host: connect: Connection refused (111)"


@pytest.mark.parametrize(
    ("address", "text", "hint"),
    [
        ("grpc://h:1", "Socket closed", "grpcs://h:1"),
        ("grpcs://h:1", "Ssl handshake failed: WRONG_VERSION_NUMBER", "grpc://h:1"),
        ("grpcs://h:1", "Ssl handshake failed: CERTIFICATE_VERIFY_FAILED", "--server-ca"),
        ("grpc://h:1", "Trying to connect an http1.x server", "not a Pachyderm cluster"),
        ("grpc://h:1", "Connection refused", "check the address"),
    ],
)
def test_hints(address: str, text: str, hint: str) -> None:
    assert hint in to_error(Failure(C.UNAVAILABLE, text), address).hint


def test_transient() -> None:
    assert is_transient(Failure(C.UNAVAILABLE, "Connection refused"))
    assert not is_transient(Failure(C.UNAVAILABLE, "commit p/r@c not finished"))
    assert not is_transient(Failure(C.UNAVAILABLE, "CERTIFICATE_VERIFY_FAILED"))
    assert not is_transient(Failure(C.DEADLINE_EXCEEDED, ""))
    assert not is_transient(Failure(C.NOT_FOUND, ""))
    assert not is_transient(None)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("file /x not found in repo p/r at commit c", True),
        ("get file: file /a b/c not found in repo p/r at commit c", True),
        ("commit/58309f0b does not contain item: (/none)", True),
        ("commit p/r@c not found", False),
        ('branch "m" not found in repo p/r', False),
        ("repo p/file not found", False),
    ],
)
def test_missing_files_and_other_missing_things(text: str, missing: bool) -> None:
    assert is_file_missing(errors.NotFoundError(text)) is missing
