"""PfsClient: the calls of a Pachyderm cluster that pachmount uses, in Python's types."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Literal

from google.protobuf.empty_pb2 import Empty

from pachmount.errors import LoginRequiredError, NotFoundError, NotPermittedError, PachmountError, UsageError
from pachmount.names import DEFAULT_BRANCH
from pachmount.pfs import convert
from pachmount.pfs.address import ClusterAddress, parse_address
from pachmount.pfs.datum_calls import DatumCalls
from pachmount.pfs.file_calls import FileCalls
from pachmount.pfs.model import (
    AuthState,
    BranchInfo,
    ClusterInfo,
    ClusterVersion,
    CommitInfo,
    CommitRef,
    Identity,
    OidcLogin,
    ProjectInfo,
    RepoInfo,
    RepoRef,
)
from pachmount.pfs.pipeline_calls import PipelineCalls
from pachmount.pfs.proto import admin_pb2, auth_pb2, health_pb2, pfs_pb2, version_pb2
from pachmount.pfs.rpc import Request, Rpc
from pachmount.pfs.streams import MessageStream
from pachmount.pfs.traffic import Traffic
from pachmount.pfs.writer import FileWriter

_PFS = "/pfs_v2.API/"
_PROTOCOL_VERSION = version_pb2.Version(major=2, minor=11, micro=6)
_AUTH_OFF = "auth service is not activated"


class PfsClient(FileCalls):
    """One cluster. Thread-safe; connects at the first call; a context manager. Satisfies `model.CommitReader`.

    `address` is text such as `grpc://host:30650` or a ClusterAddress, `server_cas` base64 of PEM, `call_timeout` the
    deadline of a call and the longest wait for the next message of a stream, `retry_for` how long calls that may be
    repeated are, all in seconds; `traffic` counts what is sent. Every call raises a PachmountError: most of all
    ClusterUnreachableError, ClusterTimeoutError, NotFoundError, NotPermittedError, LoginRequiredError.
    """

    def __init__(
        self,
        address: str | ClusterAddress,
        *,
        token: str = "",
        server_cas: str = "",
        call_timeout: float = 30.0,
        retry_for: float = 3.0,
        traffic: Traffic | None = None,
    ) -> None:
        self.address = parse_address(address) if isinstance(address, str) else address
        super().__init__(Rpc(self.address, token, server_cas, call_timeout, retry_for, traffic or Traffic()))
        self.datums = DatumCalls(self._rpc)
        self.pipelines = PipelineCalls(self._rpc)

    def __repr__(self) -> str:
        return f"PfsClient({self.address.qualified!r})"

    def __enter__(self) -> PfsClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; calls under way in other threads fail with ClusterUnreachableError."""
        self._rpc.close()

    def set_token(self, token: str) -> None:
        """Use another session token from the next call on; "" for none."""
        self._rpc.set_token(token)

    @property
    def token(self) -> str:
        """The session token in use; "" if none."""
        return self._rpc.token

    # --- the cluster

    def set_call_timeout(self, seconds: float) -> None:
        """The deadline of calls that begin from now on and have none of their own."""
        self._rpc.call_timeout = seconds

    def health(self, timeout: float = 5.0) -> bool:
        """Whether the cluster says it is serving; raises when it cannot be asked."""
        answer = self._rpc.unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest(),
            health_pb2.HealthCheckResponse.FromString,
            timeout=timeout,
            repeatable=False,
        )
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    def version(self) -> ClusterVersion:
        """The version of the server."""
        answer = self._rpc.unary("/versionpb_v2.API/GetVersion", Empty(), version_pb2.Version.FromString)
        return convert.version(answer)

    def inspect_cluster(self) -> ClusterInfo:
        """The id of the cluster and its warnings about our version."""
        request = admin_pb2.InspectClusterRequest(client_version=_PROTOCOL_VERSION)
        info = self._rpc.unary("/admin_v2.API/InspectCluster", request, admin_pb2.ClusterInfo.FromString)
        return ClusterInfo(info.id, info.deployment_id, tuple(info.warnings), info.paused)

    def identity(self, timeout: float | None = None) -> Identity:
        """Whether auth is on, and who we are; `timeout` in seconds, by default that of every call."""
        try:
            answer = self._rpc.unary(
                "/auth_v2.API/WhoAmI",
                auth_pb2.WhoAmIRequest(),
                auth_pb2.WhoAmIResponse.FromString,
                timeout=timeout,
                is_answer=_is_auth_off,
            )
        except LoginRequiredError:
            return Identity(AuthState.LOGGED_OUT)
        except PachmountError as error:
            if _is_auth_off(error):
                return Identity(AuthState.OFF)
            raise
        expires = answer.expiration.ToNanoseconds() / 1e9 if answer.HasField("expiration") else None
        return Identity(AuthState.LOGGED_IN, answer.username, expires)

    def start_oidc_login(self) -> OidcLogin:
        """Where to log in with a browser; the state is good for 3 minutes. Raises ClusterError when auth is off."""
        answer = self._rpc.unary(
            "/auth_v2.API/GetOIDCLogin",
            auth_pb2.GetOIDCLoginRequest(),
            auth_pb2.GetOIDCLoginResponse.FromString,
            repeatable=False,
        )
        return OidcLogin(answer.login_url, answer.state)

    def authenticate(self, *, oidc_state: str = "", id_token: str = "", timeout: float = 180.0) -> str:
        """A session token for a browser login (waits until it is done) or for an OIDC id token.

        It is not used by this client before `set_token`. A state the cluster does not know is waited for, too.
        """
        request = auth_pb2.AuthenticateRequest(oidc_state=oidc_state, id_token=id_token)
        decode = auth_pb2.AuthenticateResponse.FromString
        answer = self._rpc.unary("/auth_v2.API/Authenticate", request, decode, timeout=timeout, repeatable=False)
        return answer.pach_token

    # --- projects and repos

    def list_projects(self) -> list[ProjectInfo]:
        """All projects, in the server's order."""
        found = self._rpc.collect(_PFS + "ListProject", pfs_pb2.ListProjectRequest(), pfs_pb2.ProjectInfo.FromString)
        return [convert.project_info(info) for info in found]

    def inspect_project(self, name: str) -> ProjectInfo:
        """One project."""
        request = pfs_pb2.InspectProjectRequest(project=convert.project_message(name))
        return convert.project_info(self._rpc.unary(_PFS + "InspectProject", request, pfs_pb2.ProjectInfo.FromString))

    def create_project(self, name: str, description: str = "") -> None:
        """Make a project; raises AlreadyExistsError."""
        project = convert.project_message(name)
        self._change("CreateProject", pfs_pb2.CreateProjectRequest(project=project, description=description))

    def delete_project(self, name: str, *, force: bool = False) -> None:
        """Delete a project; ClusterError if it still has repos and `force` is not set."""
        project = convert.project_message(name)
        self._change("DeleteProject", pfs_pb2.DeleteProjectRequest(project=project, force=force))

    def list_repos(self, projects: Sequence[str] = ()) -> list[RepoInfo]:
        """The user repos of some projects, or of all; those we may not see are left out by the server."""
        request = pfs_pb2.ListRepoRequest(
            type="user", projects=[convert.project_message(project) for project in projects]
        )
        return [
            convert.repo_info(info)
            for info in self._rpc.collect(_PFS + "ListRepo", request, pfs_pb2.RepoInfo.FromString)
        ]

    def inspect_repo(self, repo: RepoRef) -> RepoInfo:
        """One repo."""
        request = pfs_pb2.InspectRepoRequest(repo=convert.repo_message(repo))
        return convert.repo_info(self._rpc.unary(_PFS + "InspectRepo", request, pfs_pb2.RepoInfo.FromString))

    def create_repo(self, repo: RepoRef, description: str = "", *, update: bool = False) -> None:
        """Make a repo; raises AlreadyExistsError unless `update` is set, which changes the description instead."""
        request = pfs_pb2.CreateRepoRequest(repo=convert.repo_message(repo), description=description, update=update)
        self._change("CreateRepo", request, repeatable=update)

    def delete_repo(self, repo: RepoRef, *, force: bool = False) -> None:
        """Delete a repo with all its commits; nothing happens if there is none."""
        request = pfs_pb2.DeleteRepoRequest(repo=convert.repo_message(repo), force=force)
        answer = self._rpc.unary(_PFS + "DeleteRepo", request, pfs_pb2.DeleteRepoResponse.FromString)
        if not answer.deleted and self._repo_exists(repo):
            raise NotPermittedError(f"repo {repo} was not deleted", "the cluster says neither why nor that it failed")

    def _repo_exists(self, repo: RepoRef) -> bool:
        try:
            self.inspect_repo(repo)
        except NotFoundError:
            return False
        return True

    # --- branches

    def list_branches(self, repo: RepoRef) -> list[BranchInfo]:
        """The branches of one repo, newest first."""
        request = pfs_pb2.ListBranchRequest(repo=convert.repo_message(repo))
        return [
            convert.branch_info(info)
            for info in self._rpc.collect(_PFS + "ListBranch", request, pfs_pb2.BranchInfo.FromString)
        ]

    def inspect_branch(self, repo: RepoRef, name: str = DEFAULT_BRANCH) -> BranchInfo:
        """One branch and its head: the cheap way to see whether a branch has moved."""
        request = pfs_pb2.InspectBranchRequest(branch=convert.branch_message(repo, name))
        return convert.branch_info(self._rpc.unary(_PFS + "InspectBranch", request, pfs_pb2.BranchInfo.FromString))

    def create_branch(self, repo: RepoRef, name: str, head: CommitRef | None = None) -> None:
        """Make a branch, or move it, to `head`; without one a new branch gets an empty finished commit."""
        request = pfs_pb2.CreateBranchRequest(branch=convert.branch_message(repo, name))
        if head is not None:
            request.head.CopyFrom(convert.commit_message(head))
        self._change("CreateBranch", request, repeatable=head is not None)

    def delete_branch(self, repo: RepoRef, name: str, *, force: bool = False) -> None:
        """Delete a branch; its commits stay."""
        branch = convert.branch_message(repo, name)
        self._change("DeleteBranch", pfs_pb2.DeleteBranchRequest(branch=branch, force=force))

    # --- commits

    def list_commits(
        self, repo: RepoRef, *, number: int | None = 100, to: str = "", from_: str = ""
    ) -> list[CommitInfo]:
        """Newest first; `number=None` for all (slow: the server computes the size of each).

        `to` (an id, a branch or ancestry) walks its parents, down to but without `from_`.
        """
        if number is not None and number < 1:
            raise UsageError(f"invalid number of commits {number}", "it must be 1 or more")
        request = pfs_pb2.ListCommitRequest(repo=convert.repo_message(repo), number=number or 0)
        if to:
            request.to.CopyFrom(convert.commit_message(CommitRef(repo, to)))
        if from_:
            getattr(request, "from").CopyFrom(convert.commit_message(CommitRef(repo, from_)))
        found = self._rpc.collect(_PFS + "ListCommit", request, pfs_pb2.CommitInfo.FromString)
        return [convert.commit_info(info) for info in found]

    def subscribe_commits(self, repo: RepoRef, branch: str) -> MessageStream[bytes]:
        """A message (undecoded) for each finished commit of a branch: first for all there are, then for new ones.

        It ends only when it is cancelled or fails, and does not tell of a branch that is moved to another commit.
        """
        request = pfs_pb2.SubscribeCommitRequest(
            repo=convert.repo_message(repo), branch=branch, state=pfs_pb2.CommitState.FINISHED
        )
        return self._rpc.stream(_PFS + "SubscribeCommit", request, bytes, idle_timeout=math.inf)

    def inspect_commit(
        self, commit: CommitRef, wait: Literal["finished"] | None = None, timeout: float | None = None
    ) -> CommitInfo:
        """One commit; with `wait="finished"` only once it is finished: ClusterTimeoutError after `timeout` seconds."""
        state = pfs_pb2.CommitState.FINISHED if wait else pfs_pb2.CommitState.COMMIT_STATE_UNKNOWN
        request = pfs_pb2.InspectCommitRequest(commit=convert.commit_message(commit), wait=state)
        return convert.commit_info(
            self._rpc.unary(_PFS + "InspectCommit", request, pfs_pb2.CommitInfo.FromString, timeout=timeout)
        )

    def start_commit(
        self, repo: RepoRef, branch: str = DEFAULT_BRANCH, *, parent: str = "", description: str = ""
    ) -> CommitRef:
        """Open a commit on a branch (made if there is none); not repeated after a failure."""
        request = pfs_pb2.StartCommitRequest(branch=convert.branch_message(repo, branch), description=description)
        if parent:
            request.parent.CopyFrom(convert.commit_message(CommitRef(repo, parent)))
        answer = self._rpc.unary(_PFS + "StartCommit", request, pfs_pb2.Commit.FromString, repeatable=False)
        return CommitRef(repo, answer.id, branch)

    def finish_commit(self, commit: CommitRef, *, description: str = "", error: str = "") -> None:
        """Close an open commit; it is finished some time later. With `error` it keeps its parent's files."""
        request = pfs_pb2.FinishCommitRequest(
            commit=convert.commit_message(commit, with_branch=True), description=description, error=error
        )
        self._change("FinishCommit", request)

    def drop_commit_set(self, commit_id: str) -> None:
        """Remove the commits of one id from all repos; only heads can be dropped."""
        commit_set = pfs_pb2.CommitSet(id=commit_id)
        self._change("DropCommitSet", pfs_pb2.DropCommitSetRequest(commit_set=commit_set), repeatable=True)

    # --- writing files

    def modify_file(
        self, target: CommitRef, *, stall_timeout: float = 120.0, finish_timeout: float = 600.0
    ) -> FileWriter:
        """Change files of an open commit or, with `target.id` empty, of a branch (in a commit of its own).

        A context manager: all changes are applied when it is left, or none if it is left by an exception.
        """
        return FileWriter(self._rpc, target, stall_timeout=stall_timeout, finish_timeout=finish_timeout)

    def create_file_set(self, *, stall_timeout: float = 120.0, finish_timeout: float = 600.0) -> FileWriter:
        """Send changed files that no commit has yet; afterwards `FileWriter.file_set` is the id to add to one.

        The cluster keeps a file set for about ten minutes. Without the commit it knows nothing of what is there
        already: deleting a whole directory has no effect in a file set.
        """
        return FileWriter(self._rpc, None, stall_timeout=stall_timeout, finish_timeout=finish_timeout)

    def add_file_set(self, commit: CommitRef, file_set: str) -> None:
        """Put the changes of a file set into an open commit, all or none; not repeated after a failure."""
        request = pfs_pb2.AddFileSetRequest(
            commit=convert.commit_message(commit, with_branch=True), file_set_id=file_set
        )
        self._change("AddFileSet", request)

    def _change(self, method: str, request: Request, *, repeatable: bool = False) -> None:
        self._rpc.unary(_PFS + method, request, bytes, repeatable=repeatable)


def _is_auth_off(error: PachmountError) -> bool:
    return _AUTH_OFF in error.what
