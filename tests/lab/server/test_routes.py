"""The daemon's routes through Jupyter's server: the acceptance list of the original's extension, and errors."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.integration.box import Box
from tests.lab.server.jupyter import Jupyter

MOUNT_KEYS = {"name", "project", "repo", "branch", "commit", "files", "mode", "state", "status", "mountpoint"}


@pytest.fixture
def repo(box: Box) -> str:
    """Three files and a directory."""
    name = box.repo("images")
    box.put(name, {"/a.txt": b"one\n", "/b.txt": b"two\n", "/dir/c": b"three\n"})
    box.put(name, {"/dev.txt": b"dev\n"}, "dev")
    return name


def mount(lab: Jupyter, repo: str, name: str = "images", **more: Any) -> dict[str, Any]:
    answer = lab.ok("PUT", "/_mount", {"mounts": [{"name": name, "repo": repo, "project": "default", **more}]})
    return next(entry for entry in answer["mounted"] if entry["name"] == name)


def test_repos_projects_and_mounts_are_those_of_the_daemon(lab: Jupyter, repo: str) -> None:
    (found,) = [entry for entry in lab.ok("GET", "/repos") if entry["repo"] == repo]
    assert found == {"project": "default", "repo": repo, "branches": ["dev", "master"], "authorization": "off"}
    assert "default" in [entry["project"]["name"] for entry in lab.ok("GET", "/projects")]
    assert {entry["branch"] for entry in lab.ok("GET", f"/branches?repo={repo}")} == {"dev", "master"}
    assert len(lab.ok("GET", f"/commits?repo={repo}&branch=master&number=1")) == 1
    mounted = mount(lab, repo)
    assert mounted.keys() >= MOUNT_KEYS
    answer = lab.ok("GET", "/mounts")
    assert answer.keys() == {"mounted", "unmounted"}
    assert [entry["name"] for entry in answer["mounted"]] == ["images"]


def test_two_branches_are_two_directories_and_end_one_by_one(lab: Jupyter, box: Box, repo: str) -> None:
    mount(lab, repo)
    mount(lab, repo, "images_dev", branch="dev")
    assert box.path("images", "a.txt").read_text() == "one\n"
    assert box.path("images_dev", "dev.txt").read_text() == "dev\n"
    answer = lab.ok("PUT", "/_unmount", {"mounts": ["images"]})
    assert [entry["name"] for entry in answer["mounted"]] == ["images_dev"]
    assert lab.ok("PUT", "/_unmount_all", {})["mounted"] == []


def test_what_is_staged_is_committed_by_put_and_by_post(lab: Jupyter, box: Box, repo: str) -> None:
    mount(lab, repo, mode="rw")
    box.path("images", "new").write_text("x")
    assert [entry["path"] for entry in lab.ok("PUT", "/_diff", {"mount": "images"})["changes"]] == ["/new"]
    assert lab.ok("PUT", "/_commit", {"mount": "images", "message": "hello"})["changes"] == 1
    box.path("images", "newer").write_text("x")
    assert lab.ok("POST", "/_commit", {"mount": "images"})["changes"] == 1
    box.path("images", "newest").write_text("x")
    lab.ok("PUT", "/_discard", {"mount": "images"})
    assert lab.ok("PUT", "/_diff", {"mount": "images"})["changes"] == []
    assert "newer" in box.ok("list", f"{repo}@master")


def test_mounts_move_follow_and_change_their_mode(lab: Jupyter, box: Box, repo: str) -> None:
    mount(lab, repo)
    box.put(repo, {"/later": b""})
    (moved,) = lab.ok("PUT", "/_refresh", {"mounts": [{"name": "images"}]})["mounted"]
    assert moved["how_many_commits_behind"] == 0
    assert box.path("images", "later").exists()
    assert lab.ok("PUT", "/_follow", {"mounts": ["images"]})["mounted"][0]["follow"] is True
    lab.ok("PUT", "/_follow", {"mounts": ["images"], "follow": False})
    assert lab.ok("PUT", "/_remount", {"mounts": ["images"], "mode": "rw"})["mounted"][0]["mode"] == "rw"


def test_datums_are_stepped_through(lab: Jupyter, box: Box, repo: str) -> None:
    first = lab.ok("PUT", "/_mount_datums", {"input": {"pfs": {"repo": repo, "glob": "/*", "name": "in"}}})
    assert (first["idx"], first["num_datums"]) == (0, 3)
    assert sorted(os.listdir(box.mount_dir)) == ["in", "out"]
    assert lab.ok("PUT", "/_show_datum?idx=2&id=")["idx"] == 2
    assert lab.ok("PUT", f"/_show_datum?id={first['id']}")["idx"] == 0
    assert lab.ok("PUT", "/datums/_next")["idx"] == 1
    assert lab.ok("PUT", "/datums/_prev")["idx"] == 0
    assert lab.ok("GET", "/datums")["curr_idx"] == 0
    assert len(lab.ok("GET", "/datums/_list?number=2")["datums"]) == 2
    state = lab.state()
    assert state["datums"]["idx"] == 0
    lab.ok("PUT", "/datums/_unmount")
    assert lab.state()["datums"] is None
    lab.ok("PUT", "/datums/_mount", {"input": {"pfs": {"repo": repo, "glob": "/"}}})


def test_cluster_health_status_and_checks(lab: Jupyter, box: Box) -> None:
    assert lab.ok("GET", "/config") == {"cluster_status": "AUTH_DISABLED", "pachd_address": box.address}
    assert lab.ok("GET", "/health") == {"status": "running"}
    assert lab.ok("GET", "/status")["pid"] == box.pid
    assert lab.ok("GET", "/stats")["daemon"]["threads"] > 0
    assert lab.get("/metrics").headers["Content-Type"].startswith("text/plain")
    assert lab.ok("GET", "/warmups") == {"warmups": []}
    assert {"ok", "checks"} == lab.ok("GET", "/doctor").keys()


def test_an_error_is_the_daemons_whole_one_for_our_front_end(lab: Jupyter) -> None:
    answer = lab.put("/_mount", {"mounts": [{"name": "x", "repo": "nothing"}]})
    assert answer.status_code == 404
    assert answer.json() == {
        "id": "not-found",
        "error": "repo default/nothing not found",
        "why": "",
        "hint": "pachmount list",
    }
    assert answer.reason == "repo default/nothing not found"


def test_an_error_has_the_daemons_text_for_others(lab: Jupyter) -> None:
    answer = lab.put("/_mount", {"mounts": [{"name": "x", "repo": "nothing"}]}, ours=False)
    assert answer.status_code == 400
    assert answer.json()["message"] == "Bad Request"
    assert answer.json()["reason"].endswith("repo default/nothing not found")
    assert answer.reason.endswith("repo default/nothing not found")


@pytest.mark.parametrize("body", ["", "{", "[]", '{"pachd_address": ""}', "{}"])
def test_a_config_that_cannot_be_read_is_400_with_a_text(lab: Jupyter, body: str) -> None:
    answer = lab.put("/config", body, ours=False)
    assert answer.status_code == 400
    assert answer.json()["reason"]


def test_no_login_is_needed_here(lab: Jupyter) -> None:
    answer = lab.put("/auth/_login", ours=False)
    assert answer.status_code == 500
    assert "auth isn't activated" in answer.json()["reason"]


@pytest.mark.parametrize(("method", "route"), [("PUT", "/mounts"), ("GET", "/_mount"), ("POST", "/_unmount")])
def test_other_methods_are_refused(lab: Jupyter, method: str, route: str) -> None:
    assert lab.ask(method, route, "{}").status_code == 405
    assert lab.ask(method, route, "{}", ours=False).status_code == 405


def test_a_body_longer_than_the_daemon_takes_is_refused(lab: Jupyter) -> None:
    answer = lab.put("/_mount", b"x" * (17 << 20))
    assert (answer.status_code, answer.json()["id"]) == (413, "too-long")


def test_bytes_of_files_come_by_source_and_mount_in_ranges(lab: Jupyter, repo: str) -> None:
    mount(lab, repo)
    assert lab.get(f"/content?source={repo}:/a.txt").content == b"one\n"
    answer = lab.get("/content?mount=images&path=/a.txt", headers={"Range": "bytes=1-2"})
    assert (answer.status_code, answer.content, answer.headers["Content-Range"]) == (206, b"ne", "bytes 1-2/4")
    assert lab.get("/content?mount=images&path=/a.txt", headers={"Range": "bytes=9-"}).status_code == 416
    etag = lab.get("/content?mount=images&path=/a.txt").headers["ETag"]
    assert lab.get("/content?mount=images&path=/a.txt", headers={"If-None-Match": etag}).status_code == 304
    assert lab.get("/content?mount=images&path=/nothing").json()["id"] == "not-found"
    assert lab.ok("GET", "/file?mount=images&path=/dir")["type"] == "dir"
    assert lab.ok("GET", "/files?mount=images&number=1")["next"] == "/a.txt"
