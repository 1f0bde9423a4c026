"""The REST API as other people's clients see it: plain HTTP over the socket, compared with recordings."""

from __future__ import annotations

import http.client
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pachmount.pfs.model import RepoRef
from tests.integration.box import Box, wait_until

RECORDINGS = Path(__file__).parents[3] / "shared" / "conformance" / "rest"


class Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass
class Answer:
    status: int
    type: str
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(box: Box, method: str, path: str, body: Any = None) -> Answer:
    """`body`: an object sent as JSON, a text sent raw, or None."""
    connection = Connection(box.places.socket)
    try:
        connection.request(method, path, body=body if isinstance(body, str | None) else json.dumps(body))
        response = connection.getresponse()
        return Answer(response.status, response.getheader("Content-Type") or "", response.read().decode())
    finally:
        connection.close()


def ask_as_ours(box: Box, path: str, body: object) -> tuple[int, Any]:
    """PUT as one of our own clients: the status and the JSON of the answer."""
    connection = Connection(box.places.socket)
    try:
        connection.request("PUT", path, body=json.dumps(body), headers={"X-Pachmount-Client": "1"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def repo(shared_box: Box) -> str:
    repo = shared_box.repo("rest")
    shared_box.put(repo, {"/f1": b"one", "/f10": b"ten", "/dir/g": b"gg"})
    return repo


def mount(repo: str, name: str = "m", **more: Any) -> dict[str, Any]:
    return {"mounts": [{"name": name, "repo": repo, **more}]}


def files(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}


def test_health_is_told_without_a_cluster(box: Box) -> None:
    assert ask(box, "GET", "/health").json == {"status": "running"}


@pytest.mark.parametrize("method", ["POST", "DELETE", "HEAD", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", ["/health", "/repos", "/_mount", "/config"])
def test_other_methods_are_refused_with_an_empty_body(box: Box, method: str, path: str) -> None:
    answer = ask(box, method, path)
    assert (answer.status, answer.body) == (405, "")


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/repos"), ("PUT", "/mounts"), ("GET", "/_mount"), ("PUT", "/health")]
)
def test_the_wrong_one_of_get_and_put_is_refused_too(box: Box, method: str, path: str) -> None:
    answer = ask(box, method, path, None if method == "GET" else {})
    assert (answer.status, answer.body) == (405, "")


@pytest.mark.parametrize("path", ["/nope", "/repos/", "/", "/health/x", "//repos", "/Repos"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_an_unknown_path_is_not_found(box: Box, method: str, path: str) -> None:
    answer = ask(box, method, path)
    assert (answer.status, answer.body, answer.type) == (404, "404 page not found\n", "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("null", 200),
        ("{}", 200),
        ('{"mounts":[]}', 200),
        ('{"mounts":null}', 200),
        ('{"mounts":[]} trailing bytes', 200),
        ('{"MOUNTS":[],"unknown":{"x":1}}', 200),
        (' \n {"mounts":[]}', 200),
        ("", 400),
        ("{", 400),
        ("x", 400),
        ("[1]", 400),
        ('"text"', 400),
        ('{"mounts":"x"}', 400),
        ('{"mounts":[null]}', 400),
        ('{"mounts":[1]}', 400),
        ('{"mounts":[{"name":5}]}', 400),
    ],
)
def test_requests_are_decoded_leniently(box: Box, body: str, status: int) -> None:
    answer = ask(box, "PUT", "/_mount", body)
    assert answer.status == status, answer
    if status == 200:
        assert answer.json["mounted"] == []
    else:
        assert answer.type == "text/plain; charset=utf-8"
        assert answer.body.endswith("\n")
        assert "Traceback" not in answer.body


def test_bytes_that_are_no_text_are_a_refusal(box: Box) -> None:
    connection = Connection(box.places.socket)
    try:
        connection.request("PUT", "/_mount", body=b"\xff\xfe\x00{")
        assert connection.getresponse().status == 400
    finally:
        connection.close()


@pytest.mark.parametrize("body", [{"name": "n"}, {"repo": "r"}, {}])
def test_a_mount_needs_a_name_and_a_repo(box: Box, body: dict[str, str]) -> None:
    answer = ask(box, "PUT", "/_mount", {"mounts": [body]})
    assert answer.status == 400
    assert answer.body.startswith("mount request &{Name:")
    assert "no repo specified" in answer.body if "name" in body else "no name specified" in answer.body


def test_the_state_of_a_mount_has_the_fields_of_all_versions(box: Box, repo: str) -> None:
    answer = ask(box, "PUT", "/_mount", mount(repo, branch="master", mode="ro"))
    assert answer.status == 200
    (entry,) = answer.json["mounted"]
    head = box.cluster().inspect_branch(RepoRef("default", repo)).head.id
    assert entry == {
        "name": "m",
        "project": "default",
        "repo": repo,
        "branch": "master",
        "commit": head,
        "files": None,
        "paths": ["/"],
        "path": "",
        "mode": "ro",
        "state": "mounted",
        "status": f"up to date on latest commit {head[:8]}",
        "mountpoint": str(box.path("m")),
        "actual_mounted_commit": head,
        "latest_commit": head,
        "how_many_commits_behind": 0,
        "follow": False,
    }
    assert {"project": "default", "repo": repo, "branches": ["master"], "authorization": "off"} in answer.json[
        "unmounted"
    ]
    assert ask(box, "GET", "/mounts").json["mounted"] == [entry]
    assert files(box.path("m")) == {"f1", "f10", "dir/g"}


@pytest.mark.parametrize("spelling", [{"files": ["/f1"]}, {"paths": ["f1"]}, {"path": "/f1"}, {"PATH": "f1/"}])
def test_every_spelling_of_a_part_is_understood(box: Box, repo: str, spelling: dict[str, Any]) -> None:
    assert ask(box, "PUT", "/_mount", mount(repo, **spelling)).status == 200
    assert files(box.path("m")) == {"f1"}


def test_several_parts_at_once(box: Box, repo: str) -> None:
    assert ask(box, "PUT", "/_mount", mount(repo, files=["/f10", "/dir/g", "/absent"])).status == 200
    assert files(box.path("m")) == {"f10", "dir/g"}


def test_unmounting_by_name(box: Box, repo: str) -> None:
    ask(box, "PUT", "/_mount", mount(repo))
    ask(box, "PUT", "/_mount", mount(repo, "n"))
    assert [entry["name"] for entry in ask(box, "PUT", "/_unmount", {"mounts": ["m"]}).json["mounted"]] == ["n"]
    assert os.listdir(box.mount_dir) == ["n"]
    answer = ask(box, "PUT", "/_unmount", {"mounts": ["m"]})
    assert (answer.status, answer.body.split(" —")[0].strip()) == (500, "can't unmount when we're already unmounted")
    assert ask(box, "PUT", "/_unmount_all").json["mounted"] == []
    assert ask(box, "PUT", "/_unmount_all", "not even JSON").status == 200


def test_what_was_mounted_before_a_failure_stays(box: Box, repo: str) -> None:
    ask(box, "PUT", "/_mount", mount(repo, "taken"))
    other = box.repo("rest")
    box.put(other, {"/x": b"x"})
    entries = [{"name": "new", "repo": repo}, {"name": "taken", "repo": other}]
    answer = ask(box, "PUT", "/_mount", {"mounts": entries})
    assert answer.status == 500
    assert answer.body.startswith("mount at 'taken' already in use")
    assert [entry["name"] for entry in ask(box, "GET", "/mounts").json["mounted"]] == ["new", "taken"]


def test_committing_a_read_only_mount_does_nothing(box: Box, repo: str) -> None:
    ask(box, "PUT", "/_mount", mount(repo))
    assert ask(box, "PUT", "/_commit", {"mount": "m"}).json["mounted"][0]["state"] == "mounted"
    answer = ask(box, "PUT", "/_commit", {"mount": "x"})
    assert (answer.status, answer.body.split(" —")[0].strip()) == (500, "bad request: can't commit when unmounted")


def test_projects_leave_out_what_is_empty(box: Box) -> None:
    projects = ask(box, "GET", "/projects").json
    default = next(entry for entry in projects if entry["project"]["name"] == "default")
    assert set(default) <= {"project", "description", "auth_info", "created_at"}
    assert all(value not in (None, "", {}, []) for value in default.values())


def test_config_tells_the_cluster_and_refuses_bad_addresses(box: Box) -> None:
    config = ask(box, "GET", "/config").json
    assert config == {"cluster_status": "AUTH_DISABLED", "pachd_address": box.address}
    for address in ("", "grpc://host:1/path", "ftp://host", "grpc://user@host"):
        answer = ask(box, "PUT", "/config", {"pachd_address": address})
        assert answer.status == 400
        assert answer.body.startswith("either empty or poorly formatted cluster endpoint")
    assert ask(box, "PUT", "/config", config).json == config


def test_following_is_asked_for_and_told_as_json(box: Box, repo: str) -> None:
    (entry,) = ask(box, "PUT", "/_mount", mount(repo, follow=True)).json["mounted"]
    assert (entry["follow"], entry["state"]) == (True, "mounted")
    (entry,) = ask(box, "PUT", "/_mount", mount(repo)).json["mounted"]
    assert entry["follow"] is True, "a client that does not know of it changes nothing"
    (entry,) = ask(box, "PUT", "/_follow", {"mounts": ["m"], "follow": False}).json["mounted"]
    assert entry["follow"] is False
    assert ask(box, "PUT", "/_follow", {"mounts": ["other"]}).status == 404
    assert ask(box, "PUT", "/_follow", {"mounts": "m"}).status == 400
    pinned = mount(repo, "n", commit=entry["commit"], follow=True)
    assert "only the mount of a branch can follow it" in ask(box, "PUT", "/_mount", pinned).body


def test_warming_up_is_asked_for_and_told_as_json(box: Box, repo: str) -> None:
    ask(box, "PUT", "/_mount", mount(repo))
    begun = ask(box, "PUT", "/_warmup", {"mounts": [{"name": "m", "paths": ["/f1", "dir"]}]}).json
    found = wait_until(
        lambda: [w for w in ask(box, "GET", "/warmups").json["warmups"] if w["id"] == begun["id"] and w["ended"]],
        "the warm-up ends",
    )
    assert [(w["state"], w["done_files"], w["done_bytes"], w["error"]) for w in found] == [("done", 2, 5, None)]
    assert ask(box, "PUT", "/_warmup_cancel", {"id": begun["id"]}).json["state"] == "done"
    for path, body in (("/_warmup", {}), ("/_warmup", {"mounts": [{"name": "m", "paths": ["/../x"]}]})):
        assert ask(box, "PUT", path, body).status == 400
    for path, body in (("/_warmup", {"mounts": [{"name": "x"}]}), ("/_warmup_cancel", {"id": "x"})):
        assert ask(box, "PUT", path, body).status == 404


def test_texts_that_no_path_can_hold_are_bad_requests(box: Box) -> None:
    for wanted in ({"mountpoint": "/a\0b"}, {"name": "\ud800"}, {"branch": "\ud800"}, {"paths": ["\ud800"]}):
        entry = {"name": "x", "repo": "images", **wanted}
        answer = ask(box, "PUT", "/_mount", {"mounts": [entry]})
        assert (answer.status, bool(answer.body.strip())) == (400, True), wanted


def test_errors_for_our_own_clients_are_json(box: Box) -> None:
    status, answer = ask_as_ours(box, "/_mount", mount("no-such-repo"))
    assert status == 404
    assert answer["id"] == "not-found"
    assert "no-such-repo" in answer["error"]
    assert answer["hint"]


def test_what_cannot_be_done_just_now_is_a_conflict_for_our_own_clients(box: Box) -> None:
    repo = box.repo("busy")
    box.put(repo, {"/file": b"1"})
    box.ok("mount", repo, "--rw")
    with open(box.path(repo) / "log", "wb") as file:
        file.write(b"more to come")
        for route, body in (("/_commit", {"mount": repo}), ("/_unmount", {"mounts": [repo]})):
            status, answer = ask_as_ours(box, route, body)
            assert (status, answer["id"]) == (409, "busy")
            assert ask(box, "PUT", route, body).status == 500
    box.ok("unmount", repo, "--discard", "--yes")
