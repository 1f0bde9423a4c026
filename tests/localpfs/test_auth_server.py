"""A server with an auth file: what the recordings do not show, holes that would let one past the roles, and logins."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pachmount.errors import LoginRequiredError
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import AuthState
from pachmount.pfs.proto import auth_pb2, auth_pb2_grpc, pfs_pb2
from tests.localpfs import browser
from tests.localpfs.servers import Server, add, launch, on_branch, repo, running

_AUTH = """
root_token = "root-token"
token_lifetime = 100
state_lifetime = 2

[[users]]
login = "ada"
password = "right"
email = "ada@example.com"
groups = ["group:readers"]

[[tokens]]
token = "reader-token"
principal = "robot:reader"

[[tokens]]
token = "short-token"
principal = "robot:short"
expires = 0.001

[[bindings]]
resource = "repo:default/open"
principal = "robot:reader"
roles = ["repoWriter"]

[[bindings]]
resource = "repo:default/shared"
principal = "group:readers"
roles = ["repoReader"]
"""
_DENIED = grpc.StatusCode.PERMISSION_DENIED


class User:
    """Calls with one token."""

    def __init__(self, server: Server, token: str) -> None:
        self._server = server
        self.metadata = (("authn-token", token),)

    def pfs(self, method: str, request: Any) -> Any:
        return getattr(self._server.pfs, method)(request, metadata=self.metadata)

    def auth(self, method: str, request: Any) -> Any:
        return getattr(users(self._server), method)(request, metadata=self.metadata)

    def write(self, commit: pfs_pb2.Commit, *changes: pfs_pb2.ModifyFileRequest) -> None:
        requests = [pfs_pb2.ModifyFileRequest(set_commit=commit), *changes]
        self._server.pfs.ModifyFile(iter(requests), metadata=self.metadata)

    def read(self, commit: pfs_pb2.Commit, path: str) -> bytes:
        request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=commit, path=path))
        return b"".join(part.value for part in self.pfs("GetFile", request))


def users(server: Server) -> Any:
    return auth_pb2_grpc.APIStub(server.channel)  # type: ignore[no-untyped-call]


def finished(call: Any, *arguments: Any) -> Any:
    """A call, and its answers read to the end."""
    answer = call(*arguments)
    return list(answer) if hasattr(answer, "__next__") else answer


def code_of(call: Any, *arguments: Any) -> grpc.StatusCode:
    """The code that a call is refused with."""
    with pytest.raises(grpc.RpcError) as caught:
        finished(call, *arguments)
    return caught.value.code()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("auth")
    (made / "auth.toml").write_text(_AUTH)
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with running(folder / "store", f"unix://{folder}/s", "--auth", str(folder / "auth.toml")) as started:
        root = User(started, "root-token")
        for name in ("open", "closed", "shared"):
            root.pfs("CreateRepo", pfs_pb2.CreateRepoRequest(repo=repo(name)))
            root.write(on_branch(name), add("/f", f"in {name}".encode()))
        yield started


@pytest.fixture
def root(server: Server) -> User:
    return User(server, "root-token")


@pytest.fixture
def reader(server: Server) -> User:
    """Writes to the repo `open` and sees nothing of `closed`."""
    return User(server, "reader-token")


def _head(user: User, name: str) -> pfs_pb2.Commit:
    branch = pfs_pb2.Branch(repo=repo(name), name="master")
    return user.pfs("InspectBranch", pfs_pb2.InspectBranchRequest(branch=branch)).head


def test_tokens_of_the_file(server: Server, reader: User) -> None:
    assert reader.auth("WhoAmI", auth_pb2.WhoAmIRequest()) == auth_pb2.WhoAmIResponse(username="robot:reader")
    short = User(server, "short-token")
    assert code_of(short.auth, "WhoAmI", auth_pb2.WhoAmIRequest()) is grpc.StatusCode.INTERNAL


def test_roles_of_the_file_come_with_the_repo(reader: User) -> None:
    assert reader.read(on_branch("open"), "/f") == b"in open"
    assert code_of(reader.read, on_branch("closed"), "/f") is _DENIED


def test_a_handle_that_names_two_repos_needs_both(reader: User) -> None:
    both = pfs_pb2.Commit(repo=repo("open"), branch=pfs_pb2.Branch(name="master", repo=repo("closed")))
    assert code_of(reader.read, both, "/f") is _DENIED
    assert code_of(reader.write, both, add("/x", b"x")) is _DENIED
    file = pfs_pb2.File(commit=both, path="/")
    for method, request in (
        ("ListFile", pfs_pb2.ListFileRequest(file=file)),
        ("WalkFile", pfs_pb2.WalkFileRequest(file=file)),
        ("InspectFile", pfs_pb2.InspectFileRequest(file=file)),
        ("GlobFile", pfs_pb2.GlobFileRequest(commit=both, pattern="*")),
        ("DiffFile", pfs_pb2.DiffFileRequest(new_file=file)),
        ("GetFileSet", pfs_pb2.GetFileSetRequest(commit=both)),
        ("InspectCommit", pfs_pb2.InspectCommitRequest(commit=both)),
        ("FinishCommit", pfs_pb2.FinishCommitRequest(commit=both)),
        ("StartCommit", pfs_pb2.StartCommitRequest(branch=_branch("open", "mine"), parent=both)),
        ("CreateBranch", pfs_pb2.CreateBranchRequest(branch=_branch("open", "mine"), head=both)),
    ):
        assert code_of(reader.pfs, method, request) is _DENIED, method


def _branch(name: str, branch: str) -> pfs_pb2.Branch:
    return pfs_pb2.Branch(repo=repo(name), name=branch)


def test_a_parent_in_another_repo_must_be_readable(root: User, reader: User) -> None:
    parent = _head(root, "closed")
    request = pfs_pb2.StartCommitRequest(branch=_branch("open", "taken"), parent=parent)
    assert code_of(reader.pfs, "StartCommit", request) is _DENIED


def test_ancestry_that_leads_into_another_repo_is_checked_there(root: User, reader: User) -> None:
    start = pfs_pb2.StartCommitRequest(branch=_branch("open", "child"), parent=_head(root, "closed"))
    child = root.pfs("StartCommit", start)
    root.pfs("FinishCommit", pfs_pb2.FinishCommitRequest(commit=child))
    assert reader.read(child, "/f") == b"in closed"  # root gave it away
    before = pfs_pb2.Commit(id=child.id + "^", repo=repo("open"))
    assert root.read(before, "/f") == b"in closed"
    assert code_of(reader.read, before, "/f") is _DENIED
    assert code_of(reader.pfs, "GetFileSet", pfs_pb2.GetFileSetRequest(commit=before)) is _DENIED
    assert code_of(reader.pfs, "InspectCommit", pfs_pb2.InspectCommitRequest(commit=before)) is _DENIED
    copy = pfs_pb2.CopyFile(src=pfs_pb2.File(commit=before, path="/f"), dst="/stolen")
    assert code_of(reader.write, on_branch("open"), pfs_pb2.ModifyFileRequest(copy_file=copy)) is _DENIED
    assert code_of(reader.pfs, "DropCommit", pfs_pb2.DropCommitRequest(commit=before)) is _DENIED
    assert code_of(reader.pfs, "SquashCommit", pfs_pb2.SquashCommitRequest(commit=before)) is _DENIED
    again = pfs_pb2.StartCommitRequest(branch=_branch("open", "again"), parent=before)
    assert code_of(reader.pfs, "StartCommit", again) is _DENIED


def test_copying_needs_the_source(root: User, reader: User) -> None:
    source = pfs_pb2.File(commit=_head(root, "closed"), path="/f")
    copy = pfs_pb2.ModifyFileRequest(copy_file=pfs_pb2.CopyFile(src=source, dst="/stolen"))
    assert code_of(reader.write, on_branch("open"), copy) is _DENIED
    assert code_of(root.read, on_branch("open"), "/stolen") is grpc.StatusCode.NOT_FOUND


def test_a_refused_write_leaves_nothing(root: User, reader: User) -> None:
    commit = root.pfs("StartCommit", pfs_pb2.StartCommitRequest(branch=_branch("closed", "wip")))
    assert code_of(reader.write, commit, add("/x", b"x")) is _DENIED
    assert code_of(root.read, commit, "/x") is grpc.StatusCode.NOT_FOUND
    root.pfs("DropCommitSet", pfs_pb2.DropCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=commit.id)))


def test_commits_of_all_repos_are_for_those_who_may_see_them(root: User, reader: User) -> None:
    def names(user: User) -> set[str]:
        sets = user.pfs("ListCommitSet", pfs_pb2.ListCommitSetRequest())
        return {info.commit.repo.name for one in sets for info in one.commits}

    assert names(root) == {"open", "closed", "shared"}
    assert names(reader) == {"open"}
    every = pfs_pb2.ListCommitRequest(repo=pfs_pb2.Repo())
    assert code_of(reader.pfs, "ListCommit", every) is grpc.StatusCode.UNKNOWN
    assert len(list(root.pfs("ListCommit", every))) >= 3
    assert code_of(reader.pfs, "ListBranch", pfs_pb2.ListBranchRequest()) is grpc.StatusCode.UNKNOWN


def test_kinds_of_resources_that_nobody_knows(root: User) -> None:
    asked = auth_pb2.GetPermissionsRequest(resource=auth_pb2.Resource(type=77, name="x"))  # type: ignore[arg-type]
    assert code_of(root.auth, "GetPermissions", asked) is grpc.StatusCode.UNKNOWN


def test_deleting_many_repos_takes_those_one_may_delete(server: Server, root: User, reader: User) -> None:
    for user, name in ((reader, "mine"), (root, "yours")):
        user.pfs("CreateRepo", pfs_pb2.CreateRepoRequest(repo=repo(name)))
    answer = reader.pfs("DeleteRepos", pfs_pb2.DeleteReposRequest(all=True))
    assert [one.name for one in answer.repos] == ["mine"]
    assert root.pfs("DeleteRepo", pfs_pb2.DeleteRepoRequest(repo=repo("yours"))).deleted


def test_a_user_logs_in_with_a_browser(server: Server, root: User) -> None:
    login = users(server).GetOIDCLogin(auth_pb2.GetOIDCLoginRequest())
    waiting = users(server).Authenticate.future(auth_pb2.AuthenticateRequest(oidc_state=login.state))
    assert browser.log_in(login.login_url, "ada", "wrong").status == 401
    assert browser.log_in(login.login_url, "nobody", "right").status == 401
    assert not waiting.done()
    assert browser.log_in(login.login_url, "ada", "right").status == 200
    ada = User(server, waiting.result(10).pach_token)
    me = ada.auth("WhoAmI", auth_pb2.WhoAmIRequest())
    assert me.username == "user:ada@example.com"
    assert 90 <= me.expiration.seconds - time.time() <= 100
    assert list(ada.auth("GetGroups", auth_pb2.GetGroupsRequest()).groups) == ["group:readers"]
    assert ada.read(on_branch("shared"), "/f") == b"in shared"
    assert code_of(ada.read, on_branch("open"), "/f") is _DENIED


def test_our_own_client_logs_in(server: Server) -> None:
    with PfsClient(server.address) as client:
        assert client.identity().state is AuthState.LOGGED_OUT
        with pytest.raises(LoginRequiredError):
            client.list_repos()
        login = client.start_oidc_login()
        assert browser.log_in(login.url, "ada", "right").status == 200
        client.set_token(client.authenticate(oidc_state=login.state, timeout=10))
        assert client.identity().username == "user:ada@example.com"
        assert "shared" in {info.repo.name for info in client.list_repos()}


def test_a_state_runs_out(server: Server) -> None:
    login = users(server).GetOIDCLogin(auth_pb2.GetOIDCLoginRequest())
    began = time.monotonic()
    with pytest.raises(grpc.RpcError, match="OIDC state token expired"):
        users(server).Authenticate(auth_pb2.AuthenticateRequest(oidc_state=login.state), timeout=20)
    assert 1.5 < time.monotonic() - began < 6
    assert browser.log_in(login.login_url, "ada", "right").status == 500
    again = auth_pb2.AuthenticateRequest(oidc_state=login.state)
    with pytest.raises(grpc.RpcError) as caught:
        users(server).Authenticate(again, timeout=0.5)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_calls_that_gave_up_waiting_make_room(server: Server) -> None:
    nonsense = auth_pb2.AuthenticateRequest(oidc_state="nonsense")
    for _ in range(3):
        waiting = [users(server).Authenticate.future(nonsense) for _ in range(20)]
        time.sleep(0.2)
        assert not any(one.done() for one in waiting)
        for one in waiting:
            one.cancel()
        time.sleep(0.3)


def test_the_form_goes_nowhere_else_and_shows_text_as_text(server: Server) -> None:
    url = users(server).GetOIDCLogin(auth_pb2.GetOIDCLoginRequest()).login_url
    callback = browser.query(url)["redirect_uri"]
    elsewhere = url.replace("authorization-code", "elsewhere")
    assert browser.log_in(elsewhere, "ada", "right").status == 400
    assert browser.request(url.replace("client_id=pachyderm", "client_id=other")).status == 400
    page = browser.log_in(url, '"><script>', "x")
    assert page.status == 401
    assert "<script>" not in page.body
    back = browser.log_in(url, "ada", "right", stop_at=callback).location
    assert browser.request(back).status == 200
    assert browser.request(back).status == 401  # a code is good once
    assert browser.request(callback.replace("/authorization-code/callback", "/etc/passwd")).status == 404
    assert browser.request(callback.replace("/authorization-code/callback", "/dex/token"), {"code": "x"}).status == 400


def test_a_subscription_ends_with_the_role(root: User) -> None:
    token = root.auth("GetRobotToken", auth_pb2.GetRobotTokenRequest(robot="sub")).token
    resource = auth_pb2.Resource(type=auth_pb2.REPO, name="default/shared")
    request = auth_pb2.ModifyRoleBindingRequest(resource=resource, principal="robot:sub", roles=["repoReader"])
    root.auth("ModifyRoleBinding", request)
    subscriber = User(root._server, token)
    commits = subscriber.pfs("SubscribeCommit", pfs_pb2.SubscribeCommitRequest(repo=repo("shared"), branch="master"))
    assert next(commits).commit.repo.name == "shared"
    request.ClearField("roles")
    root.auth("ModifyRoleBinding", request)
    threading.Timer(0.2, lambda: root.write(on_branch("shared"), add("/g", b"g"))).start()
    assert code_of(next, commits) is _DENIED


def test_no_secret_is_written_anywhere(folder: Path, tmp_path: Path) -> None:
    script = (
        "import sys; sys.argv = ['x', *sys.argv[1:]]; import logging; logging.basicConfig(level=logging.DEBUG);"
        "from pachmount.localpfs.__main__ import main; main()"
    )
    listen = f"unix://{tmp_path}/s"
    options = ["--root", str(tmp_path / "store"), "--listen", listen, "--auth", str(folder / "auth.toml")]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", script, *options], stdout=log, stderr=log)
        try:
            with grpc.insecure_channel(f"unix:{tmp_path}/s") as channel:
                grpc.channel_ready_future(channel).result(20)
                server = Server(process, listen, channel)
                root = User(server, "root-token")
                issued = root.auth("GetRobotToken", auth_pb2.GetRobotTokenRequest(robot="a")).token
                code_of(User(server, issued).pfs, "CreateProject", pfs_pb2.CreateProjectRequest())
                code_of(User(server, "bad-token").pfs, "ListRepo", pfs_pb2.ListRepoRequest())
                login = users(server).GetOIDCLogin(auth_pb2.GetOIDCLoginRequest())
                assert browser.log_in(login.login_url, "ada", "right").status == 200
        finally:
            process.terminate()
            process.wait(20)
    written = (tmp_path / "log").read_text()
    for secret in ("root-token", issued, "bad-token", login.state, "right"):
        assert secret not in written
    stored = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert issued.encode() not in stored


def test_users_are_forgotten_with_the_server_and_data_is_not(folder: Path, tmp_path: Path) -> None:
    more = ("--auth", str(folder / "auth.toml"))
    with running(tmp_path / "store", f"unix://{tmp_path}/s", *more) as server:
        root = User(server, "root-token")
        token = root.auth("GetRobotToken", auth_pb2.GetRobotTokenRequest(robot="a")).token
        User(server, token).pfs("CreateRepo", pfs_pb2.CreateRepoRequest(repo=repo("open")))
    with running(tmp_path / "store", f"unix://{tmp_path}/s", *more) as server:
        assert (
            code_of(User(server, token).pfs, "ListRepo", pfs_pb2.ListRepoRequest()) is grpc.StatusCode.UNAUTHENTICATED
        )
        resource = auth_pb2.Resource(type=auth_pb2.REPO, name="default/open")
        asked = auth_pb2.GetRoleBindingRequest(resource=resource)
        entries = User(server, "root-token").auth("GetRoleBinding", asked).binding.entries
        assert dict(entries["robot:reader"].roles) == {"repoWriter": True}
        assert "robot:a" not in entries


def test_a_port_for_logins_that_is_taken(server: Server, tmp_path: Path) -> None:
    url = users(server).GetOIDCLogin(auth_pb2.GetOIDCLoginRequest()).login_url
    port = url.partition("//")[2].partition("/")[0].rpartition(":")[2]
    (tmp_path / "auth.toml").write_text(f'root_token = "x"\nlogin_port = {port}')
    process, said = launch(tmp_path / "store", f"unix://{tmp_path}/s", "--auth", str(tmp_path / "auth.toml"))
    assert process.wait(10) == 75
    assert said["error"]["id"] == "busy"
