"""Who may do what: the questions that every call asks, and the answers of a server without logins."""

from __future__ import annotations

from typing import NamedTuple

from pachmount.localpfs import handles
from pachmount.localpfs.model import RepoName, Revision
from pachmount.localpfs.rpc import Context
from pachmount.localpfs.status import Refusal
from pachmount.pfs.proto import auth_pb2, pfs_pb2


class Resource(NamedTuple):
    """What permissions are asked for on: the cluster, a project, or a repo. `kind` is a number of auth_v2."""

    kind: int
    name: str

    def __str__(self) -> str:
        return f"{auth_pb2.ResourceType.Name(self.kind)} {self.name}"


CLUSTER = Resource(auth_pb2.CLUSTER, "")


def of_project(name: str) -> Resource:
    return Resource(auth_pb2.PROJECT, name)


def of_repo(name: RepoName) -> Resource:
    kind = auth_pb2.SPEC_REPO if name.type == "spec" else auth_pb2.REPO
    return Resource(kind, f"{name.project}/{name.name}")


class Access:
    """Lets everybody do everything. The services ask it; `auth.guard` has the one that knows users."""

    def require(self, context: Context, resource: Resource, *permissions: int, prefix: str = "") -> None:
        """Raise Refusal unless the caller has all of these permissions; `prefix` goes before its text."""

    def require_in(self, context: Context, commit: pfs_pb2.Commit, *permissions: int, prefix: str = "") -> None:
        """The same on the repo of a commit handle. One that names two repos needs the permissions on both."""
        for name in handles.commit_repos(commit):
            self.require(context, of_repo(name), *permissions, prefix=prefix)

    def require_of(self, context: Context, revision: Revision | None, *permissions: int, prefix: str = "") -> None:
        """The same on the repo that a commit was found in: ancestry may have led out of the one that was named."""
        if revision is not None:
            self.require(context, of_repo(revision.repo), *permissions, prefix=prefix)

    def allows(self, context: Context, resource: Resource, *permissions: int) -> bool:
        """Whether the caller has all of these permissions; False also for what does not exist."""
        try:
            self.require(context, resource, *permissions)
        except Refusal:
            return False
        return True

    def info(self, context: Context, resource: Resource) -> pfs_pb2.AuthInfo | None:
        """The caller's permissions and roles; None without logins."""

    def created(self, context: Context, resource: Resource) -> None:
        """The caller has made this project or repo and owns it; to be called in the transaction that made it."""

    def removed(self, resource: Resource) -> None:
        """This project or repo is gone; to be called in the transaction that removed it."""
