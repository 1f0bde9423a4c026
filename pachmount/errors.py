"""The error tree: what went wrong, why, what to do, and how each edge (errno, HTTP, exit code) says it.

PachmountError
├── UsageError                 bad input from a person or a client
│   ├── InvalidNameError           a mount, project, repo or branch name
│   ├── InvalidSourceError         a source such as repo@branch:/path
│   ├── InvalidAddressError        a cluster address
│   ├── InvalidPathError           a path that a cluster cannot store
│   ├── IsADirectoryInSourceError  where a file is needed
│   ├── OutOfRangeError            bytes behind the end of a file
│   ├── TooLongError               a file that is too long to be opened in JupyterLab
│   ├── NoInputError               a pipeline without input
│   ├── NoDatumsError              no file matches an input
│   └── TooManyDatumsError         more datums than the setting allows
├── NotFoundError              no such project, repo, branch, commit or file
│   └── NotADirectoryInSourceError a path leads through a file
├── GoneError                  a commit that was shown does not exist on the cluster any more
├── FailedCommitError          a commit that ended with an error: its files cannot be relied on
├── AlreadyExistsError
├── ReadOnlyError              a write to something that cannot change
├── NotPermittedError          the cluster or the system says no
│   ├── LoginRequiredError         no token, or an expired one
│   └── AccessDeniedError          the daemon says no to whoever asks it
│       └── TokenRequiredError         and wants its token
├── UnreachableError           somebody does not answer
│   ├── ClusterUnreachableError
│   │   └── ClusterTimeoutError    a deadline passed
│   ├── NotConnectedError          the daemon has no cluster yet
│   ├── DaemonUnreachableError
│   └── DaemonNotRunningError
├── BusyError                  try again later
│   ├── BranchMovedError           while its datums were listed
│   ├── OverloadedError            the daemon has too many requests
│   └── StoppingError              the daemon takes its mounts away and ends
├── ConflictError              somebody else changed the same
├── CannotMountError           no FUSE, no usable directory, name taken
│   └── NameTakenError
├── ConfigurationError         a settings or context file that cannot be used
├── DataError                  bytes that do not match their size or hash
│   ├── IncompleteListingError     a listing that ended well, but too early
│   └── StoreDamagedError          a store's database and its ledger do not agree
├── StorageFullError
├── ClusterError               the cluster refused for a reason of its own
├── NeedsClusterError          the embedded server, or an old cluster, cannot do it
└── InternalError              a bug
"""

from __future__ import annotations

import enum
import errno
from typing import Any, ClassVar


class ExitCode(enum.IntEnum):
    """Exit codes of the command line (the sysexits numbers where one fits)."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_RUNNING = 3
    NOT_FOUND = 66
    UNREACHABLE = 69
    BUG = 70
    CANNOT_CREATE = 73
    BUSY = 75
    NOT_PERMITTED = 77
    BAD_CONFIGURATION = 78
    INTERRUPTED = 130


class PachmountError(Exception):
    """An error that a user can understand.

    `what` names what failed, `why` the reason, `hint` a command or step that helps. Each class fixes its id, the errno
    that a file operation answers with, the HTTP status of the REST API and the exit code of the command line.
    """

    id: ClassVar[str] = "failure"
    errno: ClassVar[int] = errno.EIO
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[ExitCode] = ExitCode.FAILURE

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(what, why, hint)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what} — {self.why}" if self.why else self.what

    def to_dict(self) -> dict[str, str]:
        """The error as JSON-ready text, for `from_dict` in another process."""
        return {"id": self.id, "error": self.what, "why": self.why, "hint": self.hint}


class UsageError(PachmountError):
    id = "usage"
    errno = errno.EINVAL
    http_status = 400
    exit_code = ExitCode.USAGE


class InvalidNameError(UsageError):
    id = "invalid-name"


class InvalidSourceError(UsageError):
    id = "invalid-source"


class InvalidAddressError(UsageError):
    id = "invalid-address"


class InvalidPathError(UsageError):
    id = "invalid-path"


class IsADirectoryInSourceError(UsageError):
    id = "is-a-directory"
    errno = errno.EISDIR


class OutOfRangeError(UsageError):
    id = "out-of-range"
    http_status = 416


class TooLongError(UsageError):
    id = "too-long"
    http_status = 413


class NoInputError(UsageError):
    id = "no-input"


class NoDatumsError(UsageError):
    id = "no-datums"


class TooManyDatumsError(UsageError):
    id = "too-many-datums"


class NotFoundError(PachmountError):
    id = "not-found"
    errno = errno.ENOENT
    http_status = 404
    exit_code = ExitCode.NOT_FOUND


class AlreadyExistsError(PachmountError):
    id = "already-exists"
    errno = errno.EEXIST
    http_status = 409
    exit_code = ExitCode.CANNOT_CREATE


class NotADirectoryInSourceError(NotFoundError):
    id = "not-a-directory"
    errno = errno.ENOTDIR


class GoneError(PachmountError):
    """Never a NotFoundError: a program that is told "no such file" believes that the file was deleted."""

    id = "gone"
    errno = errno.ESTALE
    http_status = 410
    exit_code = ExitCode.NOT_FOUND


class FailedCommitError(PachmountError):
    id = "failed-commit"
    http_status = 409


class ReadOnlyError(PachmountError):
    id = "read-only"
    errno = errno.EROFS
    http_status = 403
    exit_code = ExitCode.NOT_PERMITTED


class NotPermittedError(PachmountError):
    id = "not-permitted"
    errno = errno.EACCES
    http_status = 403
    exit_code = ExitCode.NOT_PERMITTED


class LoginRequiredError(NotPermittedError):
    id = "login-required"
    http_status = 401


class AccessDeniedError(NotPermittedError):
    id = "access-denied"


class TokenRequiredError(AccessDeniedError):
    id = "token-required"
    http_status = 401


class UnreachableError(PachmountError):
    id = "unreachable"
    errno = errno.EIO
    http_status = 503
    exit_code = ExitCode.UNREACHABLE


class ClusterUnreachableError(UnreachableError):
    id = "cluster-unreachable"


class ClusterTimeoutError(ClusterUnreachableError):
    id = "cluster-timeout"
    errno = errno.ETIMEDOUT
    http_status = 504


class NotConnectedError(UnreachableError):
    id = "not-connected"
    http_status = 404


class DaemonUnreachableError(UnreachableError):
    id = "daemon-unreachable"


class DaemonNotRunningError(UnreachableError):
    id = "daemon-not-running"


class BusyError(PachmountError):
    id = "busy"
    errno = errno.EBUSY
    http_status = 409
    exit_code = ExitCode.BUSY


class BranchMovedError(BusyError):
    id = "branch-moved"


class OverloadedError(BusyError):
    id = "overloaded"
    http_status = 503


class StoppingError(BusyError):
    """`what` is always the same: a daemon that stops refuses everything alike."""

    id = "stopping"
    http_status = 503

    def __init__(
        self,
        what: str = "the daemon is stopping",
        why: str = "it was told to end",
        hint: str = "try again: the next command starts another daemon",
    ) -> None:
        super().__init__(what, why, hint)


class ConflictError(PachmountError):
    id = "conflict"
    errno = errno.EBUSY
    http_status = 409


class CannotMountError(PachmountError):
    id = "cannot-mount"
    exit_code = ExitCode.CANNOT_CREATE


class NameTakenError(CannotMountError):
    id = "name-taken"
    errno = errno.EEXIST


class ConfigurationError(PachmountError):
    id = "bad-configuration"
    errno = errno.EINVAL
    exit_code = ExitCode.BAD_CONFIGURATION


class DataError(PachmountError):
    id = "bad-data"


class StoreDamagedError(DataError):
    id = "store-damaged"


class IncompleteListingError(DataError):
    """A listing ended well, but does not have all that it must have."""

    id = "incomplete-listing"


class StorageFullError(PachmountError):
    id = "storage-full"
    errno = errno.ENOSPC
    http_status = 507


class ClusterError(PachmountError):
    id = "cluster-error"


class NeedsClusterError(PachmountError):
    id = "needs-cluster"
    errno = errno.EOPNOTSUPP
    http_status = 501
    exit_code = ExitCode.UNREACHABLE


class InternalError(PachmountError):
    id = "bug"
    exit_code = ExitCode.BUG


def _tree(base: type[PachmountError]) -> list[type[PachmountError]]:
    return [base] + [cls for child in base.__subclasses__() for cls in _tree(child)]


BY_ID: dict[str, type[PachmountError]] = {cls.id: cls for cls in _tree(PachmountError)}


def from_dict(data: dict[str, Any]) -> PachmountError:
    """The error that `PachmountError.to_dict` described; an unknown id gives a plain PachmountError."""
    cls = BY_ID.get(str(data.get("id", "")), PachmountError)
    return cls(str(data.get("error", "unknown error")), str(data.get("why", "")), str(data.get("hint", "")))
