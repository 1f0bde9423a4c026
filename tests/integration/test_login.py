"""Logging in at a cluster with authentication, and what happens when a login ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pachmount.errors import ExitCode
from tests.integration.auth_cluster import EXPIRED, READER, WRITER, AuthCluster, auth_cluster, tokens_in
from tests.integration.box import Box, wait_until
from tests.integration.test_rest import ask
from tests.localpfs.browser import log_in, query

NewBox = Callable[..., Box]


@pytest.fixture(scope="module")
def cluster(fuse: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthCluster]:
    with auth_cluster(tmp_path_factory.mktemp("auth")) as cluster:
        yield cluster


@pytest.fixture
def box(new_box: NewBox) -> Box:
    return new_box(start=False)


class WaitingLogin:
    """`pachmount login` in a process of its own, that waits for its user; `url` is where to log in."""

    def __init__(self, box: Box, *arguments: str) -> None:
        command = [sys.executable, "-m", "pachmount", "login", "--no-browser", *arguments]
        self.process = subprocess.Popen(
            command, env=box.env, cwd=box.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self.told = ""
        for line in self.process.stderr:
            self.told += line
            found = re.search(r"http://\S+", line)
            if found:
                self.url = found.group()
                return
        pytest.fail(f"no address to log in at: {self.told}")

    def end(self) -> tuple[int, str, str]:
        """Exit code, answer and messages."""
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, self.told + err


def log_in_with(box: Box, cluster: AuthCluster, token: str) -> str:
    return box.ok("login", cluster.address, "--token-stdin", stdin=token)


def traces_of(box: Box, secret: str) -> list[str]:
    """Where a secret can be read: files but pachctl's, and the command lines of our processes."""
    files = [path for path in box.root.rglob("*") if path.is_file() and path != Path(box.env["PACH_CONFIG"])]
    found = [str(path) for path in files if secret.encode() in path.read_bytes()]
    for pid in box.process_ids():
        if secret.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            found.append(f"command line of {pid}")
    return found


# --- the command line


def test_login_in_a_browser(box: Box, cluster: AuthCluster) -> None:
    waiting = WaitingLogin(box, cluster.address)
    wait_until(lambda: box.status()["waiting_logins"] == 1, "the login is waited for")
    assert log_in(waiting.url, "ada", "wrong").status == 401
    assert log_in(waiting.url, "ada", "right").status == 200
    code, out, err = waiting.end()
    assert (code, re.sub(r" \(version .*\)", "", out)) == (
        0,
        f"connected to {cluster.address}, logged in as user:ada@example.com\n",
    )
    assert "open this address in a browser" in err
    assert box.ok("whoami") == "user:ada@example.com\n"
    assert box.status()["waiting_logins"] == 0
    (token,) = tokens_in(box).values()
    assert (os.stat(box.env["PACH_CONFIG"]).st_mode & 0o777, traces_of(box, token)) == (0o600, [])
    box.ok("mount", "images")
    assert box.path("images", "f").read_bytes() == b"first"
    box.ok("daemon", "restart")
    assert box.ok("whoami") == "user:ada@example.com\n"
    box.ok("logout")
    assert (tokens_in(box), box.status()["mounts"]) == ({}, [])
    box.refused("whoami", code=ExitCode.NOT_PERMITTED)


def test_ctrl_c_gives_up_the_login(box: Box, cluster: AuthCluster) -> None:
    waiting = WaitingLogin(box, cluster.address)
    wait_until(lambda: box.status()["waiting_logins"] == 1, "the login is waited for")
    waiting.process.send_signal(signal.SIGINT)
    code, out, err = waiting.end()
    assert (code, out) == (ExitCode.INTERRUPTED, "")
    assert "Traceback" not in err
    wait_until(lambda: box.status()["waiting_logins"] == 0, "the daemon gives up, too")
    assert log_in(waiting.url, "ada", "right").status == 200
    box.refused("whoami", code=ExitCode.NOT_PERMITTED)


def test_login_with_tokens(box: Box, cluster: AuthCluster) -> None:
    assert "logged in as user:reader@example.com" in log_in_with(box, cluster, READER)
    said = box.refused("login", "--token-stdin", stdin="unknown-token", code=ExitCode.NOT_PERMITTED)
    assert "the cluster does not know this token" in said
    assert "logged in as user:writer@example.com" in box.ok("login", "--token-stdin", stdin=f"{WRITER}\n")
    assert list(tokens_in(box).values()) == [WRITER]
    assert traces_of(box, WRITER) + traces_of(box, READER) + traces_of(box, "unknown-token") == []


def test_the_tokens_of_the_environment(box: Box, cluster: AuthCluster) -> None:
    box.env |= {"PACHMOUNT_TOKEN": READER, "PACHD_ADDRESS": cluster.address}
    assert box.ok("whoami") == "user:reader@example.com\n"
    assert not Path(box.env["PACH_CONFIG"]).exists()
    box.ok("mount", "images")


def test_an_id_token_of_the_environment(box: Box, cluster: AuthCluster) -> None:
    box.env |= {"DEX_TOKEN": "no.id.token"}
    box.ok("daemon", "start")
    said = box.refused("login", cluster.address, code=ExitCode.NOT_PERMITTED)
    assert "could not verify token" in said
    assert "no.id.token" not in said + "".join(traces_of(box, "no.id.token"))


def test_other_contexts_are_kept(box: Box, cluster: AuthCluster) -> None:
    other = {"pachd_address": "grpc://other:1", "session_token": "others", "made_by": "pachctl"}
    document = {"user_id": "u", "v2": {"active_context": "other", "contexts": {"other": other}, "metrics": False}}
    Path(box.env["PACH_CONFIG"]).write_text(json.dumps(document))
    log_in_with(box, cluster, READER)
    written = json.loads(Path(box.env["PACH_CONFIG"]).read_text())
    assert written["v2"]["contexts"].pop("mount-server")["session_token"] == READER
    document["v2"]["active_context"] = "mount-server"  # type: ignore[index]
    assert written == document
    assert f"* mount-server  {cluster.address}, logged in" in box.ok("context", "list")


# --- the end of a login


@pytest.mark.parametrize("how", ["expired", "revoked"])
def test_mounts_survive_the_end_of_a_login(box: Box, cluster: AuthCluster, tmp_path: Path, how: str) -> None:
    more = '\n[[tokens]]\ntoken = "ends-soon-0123456789"\nprincipal = "user:reader@example.com"\nexpires = 6\n'
    with auth_cluster(tmp_path, more if how == "expired" else more.replace("expires = 6\n", "")) as cluster:
        cluster.put("images", {"/g": b"second"})
        log_in_with(box, cluster, "ends-soon-0123456789")
        box.ok("mount", "images")
        box.listed("images")
        assert box.path("images", "f").read_bytes() == b"first"
        if how == "revoked":
            cluster.revoke("ends-soon-0123456789")
        wait_until(lambda: box.status()["cluster"]["auth"] == "logged-out", "the login has ended")
        assert ask(box, "GET", "/repos").status == 401
        assert ask(box, "GET", "/mounts").body == "user unauthenticated\n"
        for command in (["list"], ["mount", "images@master", "--name", "b"], ["refresh", "images"]):
            said = box.refused(*command, code=ExitCode.NOT_PERMITTED)
            assert said.endswith("hint: pachmount login\n"), said
        assert box.sh("ls $1", box.path("images")).stdout == "f\ng\n"
        assert "Permission denied" in box.sh("cat $1", box.path("images", "g")).stderr
        told = box.run("status")
        assert ", not logged in" in told.stdout
        assert (told.returncode, told.stderr) == (0, "hint: pachmount login\n")
        before = box.mount_status("images")["mounted_at"]
        waiting = WaitingLogin(box)
        assert log_in(waiting.url, "ada", "right").status == 200
        assert waiting.end()[0] == 0
        assert box.path("images", "g").read_bytes() == b"second"
        assert box.mount_status("images")["mounted_at"] == before


def test_a_login_by_pachctl_is_noticed(box: Box, cluster: AuthCluster) -> None:
    log_in_with(box, cluster, READER)
    box.ok("logout")
    config = Path(box.env["PACH_CONFIG"])
    document = json.loads(config.read_text())
    document["v2"]["contexts"]["mount-server"]["session_token"] = WRITER  # as `pachctl auth login` does
    config.write_text(json.dumps(document))
    wait_until(lambda: box.status()["cluster"]["username"] == "user:writer@example.com", "the new login is used")


def test_an_expired_token_is_no_fault_of_the_server(box: Box, cluster: AuthCluster) -> None:
    box.ok("daemon", "start")
    said = box.refused("login", cluster.address, "--token-stdin", stdin=EXPIRED, code=ExitCode.NOT_PERMITTED)
    assert "not any more" in said
    for route in ("/repos", "/projects", "/mounts"):
        assert (ask(box, "GET", route).status, ask(box, "GET", route).body) == (401, "user unauthenticated\n")
    assert ask(box, "GET", "/config").json == {"cluster_status": "AUTH_ENABLED", "pachd_address": cluster.address}


# --- permissions


def test_what_is_not_permitted_says_what_is_missing(box: Box, cluster: AuthCluster) -> None:
    log_in_with(box, cluster, READER)
    by_name = {entry["repo"]: entry["authorization"] for entry in ask(box, "GET", "/repos").json}
    assert by_name == {"images": "read", "secret": "none"}
    said = box.refused("mount", "images", "--rw", code=ExitCode.NOT_PERMITTED)
    assert "user doesn't have write access on repo images — REPO_WRITE is missing" in said
    assert "hint: whoever owns the repo default/images can give you the role repoWriter" in said
    said = box.refused("mount", "secret", code=ExitCode.NOT_PERMITTED)
    assert "user doesn't have read permission on repo secret — REPO_READ, " in said
    body = {"mounts": [{"name": "s", "repo": "secret"}]}
    assert (ask(box, "PUT", "/_mount", body).status, box.status()["mounts"]) == (500, [])
    box.ok("login", "--token-stdin", stdin=WRITER)
    box.ok("mount", "images", "--rw")
    box.path("images", "new").write_bytes(b"new")
    box.ok("commit", "images", "-m", "by a writer")
    by_name = {entry["repo"]: entry["authorization"] for entry in ask(box, "GET", "/repos").json}
    assert by_name["images"] == "write"


# --- REST, as other clients use it


def begin(box: Box) -> dict[str, str]:
    answer = ask(box, "PUT", "/auth/_login")
    assert answer.status == 200, answer.body
    assert set(answer.json) == {"auth_url", "oidc_state"}
    return dict(answer.json)


@pytest.mark.parametrize("spelling", ["2.6", "2.8"])
def test_the_login_of_the_original(box: Box, cluster: AuthCluster, spelling: str) -> None:
    document: dict[str, Any] = {"v2": {"contexts": {"other": {"session_token": "others-token"}}}}
    Path(box.env["PACH_CONFIG"]).write_text(json.dumps(document))
    box.ok("daemon", "start")
    config = {"cluster_status": "AUTH_ENABLED", "pachd_address": cluster.address}
    assert ask(box, "PUT", "/config", {"pachd_address": cluster.address}).json == config
    assert ask(box, "GET", "/repos").status == 401
    begun = begin(box)
    assert query(begun["auth_url"])["state"] == begun["oidc_state"]
    assert log_in(begun["auth_url"], "ada", "right").status == 200
    body: Any = begun["oidc_state"] if spelling == "2.6" else {"oidc": begun["oidc_state"]}
    answer = ask(box, "PUT", "/auth/_login_token", body)
    assert answer.status == 200, answer.body
    contexts = answer.json["v2"]["contexts"]
    assert (list(contexts), answer.json["v2"]["active_context"]) == (["mount-server"], "mount-server")
    assert contexts["mount-server"]["session_token"] == tokens_in(box)["mount-server"]
    assert "others-token" not in answer.body
    assert tokens_in(box)["other"] == "others-token"
    assert ask(box, "GET", "/repos").status == 200
    logout = ask(box, "PUT", "/auth/_logout")
    assert (logout.status, logout.body) == (200, "")
    assert ask(box, "GET", "/repos").status == 401
    assert ask(box, "PUT", "/auth/_logout").status == 401


def test_login_tokens_that_are_none(box: Box, cluster: AuthCluster) -> None:
    box.ok("daemon", "start")
    for body in ("", "{}", '{"oidc":""}', '{"oidc":1}'):
        assert ask(box, "PUT", "/auth/_login_token", body).status == 400
    assert ask(box, "PUT", "/config", {"pachd_address": cluster.address}).status == 200
    answer = ask(box, "PUT", "/auth/_login_token", {"id_token": "x.y.z"})
    assert (answer.status, answer.body.startswith("could not verify token")) == (500, True)


def test_a_login_that_nobody_completes_ends(box: Box, tmp_path: Path) -> None:
    with auth_cluster(tmp_path, lifetime=4) as cluster:
        box.ok("daemon", "start")
        assert ask(box, "PUT", "/config", {"pachd_address": cluster.address}).status == 200
        begun = begin(box)
        assert log_in(begun["auth_url"], "ada", "wrong").status == 401
        answer = ask(box, "PUT", "/auth/_login_token", begun["oidc_state"])
        assert (answer.status, "OIDC state token expired" in answer.body) == (500, True), answer.body


# --- another cluster


def test_switching_commits_what_is_staged_or_says_why_not(box: Box, cluster: AuthCluster, tmp_path: Path) -> None:
    log_in_with(box, cluster, WRITER)
    box.ok("mount", "images", "--rw")
    box.path("images", "staged").write_bytes(b"staged")
    assert ask(box, "PUT", "/config", {"pachd_address": "127.0.0.1:1"}).status == 500
    assert box.mount_status("images")["staged"]["files"] == 1
    before = ask(box, "GET", "/config").json
    cluster.put("images", {"/staged": b"somebody else's"})
    said = box.refused("login", "--local")
    assert f"still connected to {cluster.address}" in said
    assert "--keep" in said
    assert ask(box, "GET", "/config").json == before
    assert box.path("images", "staged").read_bytes() == b"staged"
    box.ok("login", "--local", "--keep")
    assert box.status()["mounts"] == []
    assert "images" in box.ok("status")
    box.put("images", {"/f": b"of the embedded server"})
    said = box.refused("mount", "images", "--rw", code=ExitCode.CANNOT_CREATE)
    assert "staged changes under that name, which were made on another cluster" in said
    box.ok("mount", "images", "--rw", "--name", "other")
    box.ok("unmount", "other")
    log_in_with(box, cluster, WRITER)
    box.ok("mount", "images", "--rw")
    assert box.path("images", "staged").read_bytes() == b"staged"
    box.ok("commit", "images", "--ours")
    box.path("images", "more").write_bytes(b"more")
    box.ok("login", "--local")
    log_in_with(box, cluster, READER)
    assert "more" in box.ok("list", "images@master")
