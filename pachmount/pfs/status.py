"""The one mapping from gRPC failures to the error tree, and the decision which of them are worth a retry."""

from __future__ import annotations

import re

import grpc

from pachmount.errors import (
    AlreadyExistsError,
    BusyError,
    ClusterError,
    ClusterTimeoutError,
    ClusterUnreachableError,
    DataError,
    InvalidPathError,
    LoginRequiredError,
    NotFoundError,
    NotPermittedError,
    PachmountError,
    StorageFullError,
    UsageError,
)

LOGIN_HINT = "pachmount login"

_RPC_PREFIX = re.compile(r"^rpc error: code = \w+ desc = ")
_LAST_CAUSE = re.compile(r"last error: (?:\w+: )?(.*)", re.DOTALL)
_NETWORK_NOISE = re.compile(r"(?:ipv[46]|unix|dns):\S*?: |tcp handshaker shutdown[:;]? ?", re.IGNORECASE)
_NOT_FINISHED = re.compile(r"commit\b.*\bnot (?:been )?finished|base commit\b.*\bunfinished", re.DOTALL)
_STORAGE_FULL = re.compile(r"no space left|disk (?:is )?full|quota exceeded|database or disk is full", re.IGNORECASE)
_BAD_PATH = re.compile(
    r"path \(.*\) invalid|globbing character|only printable ASCII|cannot get directory or non-regular|matched multiple",
    re.IGNORECASE | re.DOTALL,
)
_BAD_NAME = re.compile(r"name \(.*\) invalid|branch name cannot be|invalid project name|is a reserved name", re.DOTALL)
_NEEDS = re.compile(
    r"is not authorized to perform this operation - needs permissions \[(?P<permissions>[^\]]*)\]"
    r" on (?P<kind>[A-Z]+)(?: (?P<name>[^\s.]\S*?(?=\.?(?:\s|$))|))?"
)
_REPO_READER = frozenset(
    {"REPO_READ", "REPO_INSPECT_COMMIT", "REPO_LIST_COMMIT", "REPO_LIST_BRANCH", "REPO_INSPECT_FILE", "REPO_LIST_FILE"}
)
_REPO_WRITER = _REPO_READER | {"REPO_WRITE", "REPO_DELETE_COMMIT", "REPO_CREATE_BRANCH", "REPO_DELETE_BRANCH"}
_PROJECT_WRITER = frozenset({"PROJECT_LIST_REPO", "PROJECT_CREATE_REPO"})
_GONE = re.compile(r"no role binding exists", re.IGNORECASE)
_FILE_NOT_FOUND = re.compile(r"\bfile /.* not found in repo\b|does not contain item", re.DOTALL)
_TOO_LARGE = re.compile(r"larger than max", re.IGNORECASE)
_BROKEN_OFF = re.compile(
    r"RST_STREAM|stream (?:terminated|removed)|transport is closing|connection (?:reset|refused|error)|unexpected EOF"
    r"|broken pipe|i/o timeout|code = Unavailable|SlowDown|slow down",
    re.IGNORECASE,
)
"""A balancer's, or the cluster's own trouble with its storage, which it reports as INTERNAL or UNKNOWN."""
_TLS_TROUBLE = re.compile(r"certificate|CERT_|ssl handshake|tls", re.IGNORECASE)
_CERTIFICATE_TROUBLES = (
    (re.compile("certificate has expired"), "its certificate has expired", "whoever runs the cluster can renew it"),
    (
        re.compile("hostname verification|(?:hostname|ip address) mismatch", re.IGNORECASE),
        "its certificate is for another name",
        "use a name that the certificate has",
    ),
    (
        re.compile("CERTIFICATE_VERIFY_FAILED"),
        "its certificate is not trusted",
        "pachmount login {address} --server-ca FILE trusts the authorities in a PEM file",
    ),
)
"""How gRPC and OpenSSL say it, what we say, and what helps."""
_FIRST_FRAME = re.compile(r"got frame type (\d+)")
_CUT_OFF = re.compile(r"socket closed|connection reset|\beof\b|end of tcp stream", re.IGNORECASE)
_NOT_GRPC = re.compile(
    r"http1\.x server|http2 header with status|unknown service|invalid content-type|method not allowed", re.IGNORECASE
)


class CallFailedError(grpc.RpcError):
    """A failure of a call that did not go through grpcio."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


def details_of(error: grpc.RpcError) -> str:
    """The server's own text of a failure, without gRPC's prefix."""
    details = error.details() if isinstance(error, grpc.Call | CallFailedError) else str(error)
    return _RPC_PREFIX.sub("", details or "").strip()


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    """The status code of a failure."""
    return error.code() if isinstance(error, grpc.Call | CallFailedError) else grpc.StatusCode.UNKNOWN


def is_transient(error: BaseException | None) -> bool:
    """Whether the call that failed with this gRPC error may well succeed a moment later."""
    if not isinstance(error, grpc.RpcError):
        return False
    code, text = code_of(error), details_of(error)
    if code is not grpc.StatusCode.UNAVAILABLE:
        return _is_passing(code, text)
    return not (_NOT_FINISHED.search(text) or _TLS_TROUBLE.search(text) or _NOT_GRPC.search(text))


def is_file_missing(error: NotFoundError) -> bool:
    """Whether a path does not exist in a commit that does (and not: the commit, branch, repo or project is gone)."""
    return _FILE_NOT_FOUND.search(error.what) is not None


def is_call_missing(error: PachmountError) -> bool:
    """Whether the server does not offer the call."""
    cause = error.__cause__
    return isinstance(cause, grpc.RpcError) and code_of(cause) is grpc.StatusCode.UNIMPLEMENTED


def to_error(error: grpc.RpcError, address: str) -> PachmountError:
    """The error that a user should see; `what` is the server's text where the server itself answered."""
    code, text = code_of(error), details_of(error)
    simple = _SIMPLE.get(code)
    if simple is not None:
        return simple(text or code.name)
    if code is grpc.StatusCode.UNAVAILABLE:
        return BusyError(text) if _NOT_FINISHED.search(text) else unreachable(address, text)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ClusterTimeoutError(f"no answer from the cluster at {address}", _network_reason(text))
    if code is grpc.StatusCode.CANCELLED:
        return ClusterUnreachableError(f"the call to the cluster at {address} was cut off", text)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return LoginRequiredError(text or "no authentication token", hint=LOGIN_HINT)
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return _not_permitted(text or "permission denied")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _STORAGE_FULL.search(text):
        return StorageFullError(text)
    if _is_passing(code, text):
        return ClusterUnreachableError(f"the cluster at {address} could not finish the call", text)
    if _NOT_GRPC.search(text):
        return unreachable(address, text)
    return _by_text(code, text)


def unreachable(address: str, text: str) -> ClusterUnreachableError:
    """The error for a server that is not there, or is not a cluster."""
    what = f"cannot reach the cluster at {address}"
    for pattern, why, hint in _CERTIFICATE_TROUBLES:
        if pattern.search(text):
            return ClusterUnreachableError(what, why, hint.format(address=address))
    return ClusterUnreachableError(what, _network_reason(text), _address_hint(address, text))


def _is_passing(code: grpc.StatusCode, text: str) -> bool:
    """Whether a code that says little stands for trouble that passes: too many requests, a broken connection."""
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return not (_STORAGE_FULL.search(text) or _TOO_LARGE.search(text))
    return code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN) and _BROKEN_OFF.search(text) is not None


def _not_permitted(text: str) -> NotPermittedError:
    """What the server says, without its advice for pachctl, and who can help."""
    needs = _NEEDS.search(text)
    if needs is None:
        return NotPermittedError(text)
    kind, name = needs["kind"].lower(), needs["name"]
    role = _role_for(set(needs["permissions"].split()), kind)
    where = f"{kind} {name}".strip()
    return NotPermittedError(text[: needs.end()], hint=f"whoever owns the {where} can give you the role {role}")


def _role_for(permissions: set[str], kind: str) -> str:
    """The least role that has some permissions (auth/permissions.json of the conformance recordings)."""
    if kind == "cluster":
        return "clusterAdmin"
    if kind == "project":
        return "projectWriter" if permissions <= _PROJECT_WRITER else "projectOwner"
    return "repoReader" if permissions <= _REPO_READER else "repoWriter" if permissions <= _REPO_WRITER else "repoOwner"


_SIMPLE: dict[grpc.StatusCode, type[PachmountError]] = {
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
}


def _by_text(code: grpc.StatusCode, text: str) -> PachmountError:
    """Failures whose code says little (mostly UNKNOWN): match the text loosely, its wrapping differs by version."""
    what = text or f"the cluster answered {code.name}"
    if code is grpc.StatusCode.INTERNAL and text.startswith("Exception deserializing"):
        return DataError("the cluster sent a message that cannot be read")
    if code is grpc.StatusCode.INTERNAL and "token expiration is in the past" in text:
        return LoginRequiredError(what, hint=LOGIN_HINT)
    if _GONE.search(text) or "is not authorized to perform this operation" in text:
        return _not_permitted(what)
    if _NOT_FINISHED.search(text):
        return BusyError(what)
    if _STORAGE_FULL.search(text):
        return StorageFullError(what)
    if _BAD_PATH.search(text):
        return InvalidPathError(what)
    if code is grpc.StatusCode.INVALID_ARGUMENT or _BAD_NAME.search(text):
        return UsageError(what)
    if code is grpc.StatusCode.ABORTED:
        what = what.splitlines()[0]  # a recovered panic: the rest is the server's stack trace
    return ClusterError(what)


def _network_reason(text: str) -> str:
    last = _LAST_CAUSE.search(text)
    return _NETWORK_NOISE.sub("", last.group(1) if last else text).strip()


def _address_hint(address: str, text: str) -> str:
    if address.startswith("grpcs://") and _TLS_TROUBLE.search(text):
        return f"if the server does not use TLS, its address is grpc://{address.removeprefix('grpcs://')}"
    # The fourth byte of an answer in another protocol: text is a web server, anything else most likely TLS.
    first_frame = _FIRST_FRAME.search(text)
    if _NOT_GRPC.search(text) or (first_frame and int(first_frame.group(1)) >= ord(" ")):
        return "something that is not a Pachyderm cluster listens there; check host and port"
    if address.startswith("grpc://") and (first_frame or _CUT_OFF.search(text)):
        return f"if the server uses TLS, its address is grpcs://{address.removeprefix('grpc://')}"
    return "check the address and the network"
