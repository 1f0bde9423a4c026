"""Logins: the extension waits for them, and puts the token where the user's own programs look for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pachmount.pfs.contexts import ContextFile
from pachmount_lab.login import merge_contexts
from tests.integration.auth_cluster import AuthCluster, auth_cluster, tokens_in
from tests.integration.box import Box, wait_until
from tests.lab.server.jupyter import Jupyter, jupyter
from tests.localpfs.browser import log_in

NewBox = Callable[..., Box]
TOLD = {
    "user_id": "theirs",
    "v2": {
        "active_context": "mount-server",
        "contexts": {"mount-server": {"source": 2, "pachd_address": "grpc://pachd:30650", "session_token": "new"}},
        "metrics": True,
    },
}


@pytest.fixture(scope="module")
def auth(fuse: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthCluster]:
    with auth_cluster(tmp_path_factory.mktemp("auth")) as cluster:
        yield cluster


def log_in_through(lab: Jupyter, auth: AuthCluster) -> None:
    lab.ok("PUT", "/config", {"pachd_address": auth.address})
    assert lab.get("/repos").status_code == 401
    answer = lab.ok("PUT", "/auth/_login", ours=False)
    assert answer.keys() == {"auth_url", "oidc_state"}
    assert lab.state()["login"] == {"state": "waiting", "error": None}
    assert log_in(answer["auth_url"], "ada", "right").status == 200
    wait_until(lambda: lab.state()["status"]["cluster"]["auth"] == "logged-in", "logged in")
    wait_until(lambda: lab.state()["login"] == {"state": "done", "error": None}, "the login is done")


def test_a_login_is_waited_for_and_a_logout_passed_on(new_box: NewBox, auth: AuthCluster) -> None:
    box = new_box()
    with jupyter(box) as lab:
        log_in_through(lab, auth)
        assert lab.ok("GET", "/config", ours=False)["cluster_status"] == "AUTH_ENABLED"
        assert "images" in [repo["repo"] for repo in lab.ok("GET", "/repos")]
        (token,) = tokens_in(box).values()
        assert token not in lab.log()
        assert lab.put("/auth/_logout", "{}", ours=False).status_code == 200
        assert lab.get("/repos", ours=False).status_code == 401


def test_a_login_that_failed_is_told_until_somebody_is_logged_in(new_box: NewBox, tmp_path: Path) -> None:
    box = new_box()
    with auth_cluster(tmp_path, lifetime=1) as hasty, jupyter(box) as lab:
        lab.ok("PUT", "/config", {"pachd_address": hasty.address})
        assert lab.state()["login"] is None
        lab.ok("PUT", "/auth/_login")
        wait_until(lambda: lab.state()["login"]["state"] == "failed", "the login failed")
        assert lab.state()["login"]["error"]["error"] in lab.log()
        assert lab.state()["status"]["cluster"]["auth"] == "logged-out"


def test_without_a_cluster_the_config_is_invalid_and_no_error(new_box: NewBox) -> None:
    box = new_box(start=False)
    Path(box.env["PACH_CONFIG"]).write_text("broken")
    box.env["PACHD_ADDRESS"] = "not an address"
    with jupyter(box) as lab:
        answer = lab.get("/config", ours=False)
        assert (answer.status_code, answer.json()["cluster_status"]) == (200, "INVALID")
        box.log_problems()


def test_in_sidecar_mode_the_token_comes_into_the_users_own_file(new_box: NewBox, auth: AuthCluster) -> None:
    box = new_box(PACHMOUNT_LISTEN="127.0.0.1:0")
    mine = box.root / "mine" / "config.json"
    mine.parent.mkdir()
    kept = {"user_id": "me", "v2": {"active_context": "a", "contexts": {"a": {"x": 1}}, "other": True}}
    mine.write_text(json.dumps(kept))
    reach = {"PACHMOUNT_URL": str(box.status()["listen"]), "PACHMOUNT_TOKEN_FILE": str(box.places.token_file)}
    with jupyter(box, PACH_CONFIG=str(mine), **reach) as lab:
        log_in_through(lab, auth)
        wait_until(lambda: "session_token" in mine.read_text(), "the token is there")
    document = json.loads(mine.read_text())
    assert (document["user_id"], document["v2"]["other"], document["v2"]["contexts"]["a"]) == ("me", True, {"x": 1})
    assert document["v2"]["active_context"] == "mount-server"
    assert document["v2"]["contexts"]["mount-server"]["session_token"] == tokens_in(box)["mount-server"]
    assert mine.stat().st_mode & 0o777 == 0o600


def test_a_context_that_is_there_gets_the_token_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    theirs = {"pachd_address": "grpc://mine:1", "session_token": "old", "project": "p", "unknown": [1]}
    path.write_text(json.dumps({"v2": {"active_context": "x", "contexts": {"mount-server": theirs, "x": {}}}}))
    merge_contexts(TOLD, ContextFile(path))
    v2 = json.loads(path.read_text())["v2"]
    assert v2["contexts"] == {"mount-server": {**theirs, "session_token": "new"}, "x": {}}
    assert v2["active_context"] == "mount-server"


def test_a_context_that_is_not_there_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.json"
    merge_contexts(TOLD, ContextFile(path))
    v2 = json.loads(path.read_text())["v2"]
    assert v2["contexts"] == TOLD["v2"]["contexts"]  # type: ignore[index]
    assert v2["active_context"] == "mount-server"
    assert path.stat().st_mode & 0o777 == 0o600
