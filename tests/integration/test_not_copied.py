"""Faults of the original mount server that ours must not have, where no other test looks for them.

docs/semantics.md lists all of them, each with its test.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pachmount.pfs.model import RepoRef
from tests.integration.box import Box, wait_until
from tests.integration.test_rest import ask, mount

NewBox = Callable[..., Box]
SOON = 10.0
"""Seconds within which an answer must come that the original never gave."""
CALL_SECONDS = 4.0


@pytest.fixture
def repo(box: Box) -> str:
    repo = box.repo("faults")
    box.put(repo, {"/f": b"one"})
    return repo


def names(box: Box) -> list[str]:
    return [entry["name"] for entry in ask(box, "GET", "/mounts").json["mounted"]]


def test_a_writable_mount_whose_branch_and_repo_are_deleted_hangs_nothing(box: Box, repo: str) -> None:
    other = box.repo("faults")
    box.put(other, {"/g": b"g"})
    ask(box, "PUT", "/_mount", mount(repo, "w", mode="rw"))
    ask(box, "PUT", "/_mount", mount(other, "beside"))
    box.path("w", "new").write_bytes(b"mine")
    ref = RepoRef("default", repo)
    for delete in (
        lambda: box.cluster().delete_branch(ref, "master", force=True),
        lambda: box.cluster().delete_repo(ref),
    ):
        delete()
        started = time.monotonic()
        answer = ask(box, "GET", "/mounts")
        assert (answer.status, [entry["name"] for entry in answer.json["mounted"]]) == (200, ["beside", "w"])
        assert time.monotonic() - started < SOON
    assert box.path("beside", "g").read_bytes() == b"g"
    assert box.path("w", "new").read_bytes() == b"mine"
    refused = ask(box, "PUT", "/_unmount", {"mounts": ["w"]})
    assert (refused.status, "staged" in refused.body) == (500, True)
    assert box.path("w", "new").read_bytes() == b"mine"
    assert ask(box, "PUT", "/_unmount", {"mounts": ["w"], "staged": "keep"}).status == 200
    assert "w" in [kept["name"] for kept in box.status()["kept_changes"]]
    box.put(repo, {"/f": b"one"})
    assert ask(box, "PUT", "/_mount", mount(repo, "again")).status == 200


def test_polls_during_an_outage_unmount_nothing(new_box: NewBox) -> None:
    box = new_box(PACHMOUNT_CALL_TIMEOUT=str(CALL_SECONDS))
    server = box.server()
    box.ok("login", server.address)
    repo = box.repo()
    box.put(repo, {"/f": b"one"})
    box.mount(repo, "ro")
    box.mount(repo, "rw", mode="rw")
    assert box.path("ro", "f").read_bytes() == b"one"
    for stop, start in ((server.freeze, server.thaw), (server.kill, server.start)):
        stop()
        for method, route in (("GET", "/mounts"), ("GET", "/config"), ("GET", "/repos"), ("PUT", "/_mount")):
            started = time.monotonic()
            answer = ask(box, method, route, mount(repo, "ro") if method == "PUT" else None)
            assert time.monotonic() - started < CALL_SECONDS + SOON
            assert answer.status == 200 or route in ("/repos", "/_mount")
            assert names(box) == ["ro", "rw"]
        assert box.path("ro", "f").read_bytes() == b"one"
        start()
        wait_until(lambda: ask(box, "GET", "/config").json["cluster_status"] == "AUTH_DISABLED", "it is back")
        assert [entry["state"] for entry in ask(box, "GET", "/mounts").json["mounted"]] == ["mounted", "mounted"]
    box.log_problems()


def test_mounting_again_with_another_mode_or_other_files_is_not_ignored(box: Box, repo: str) -> None:
    assert ask(box, "PUT", "/_mount", mount(repo)).status == 200
    for difference in ({"mode": "rw"}, {"files": ["/f"]}, {"path": "/f"}):
        answer = ask(box, "PUT", "/_mount", mount(repo, **difference))
        assert answer.status == 500
        assert answer.body.startswith("mount at 'm' already in use — ")
    assert ask(box, "GET", "/mounts").json["mounted"][0]["mode"] == "ro"


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_mounting_the_same_again_succeeds_wherever_the_head_is(box: Box, repo: str, mode: str) -> None:
    before = ask(box, "PUT", "/_mount", mount(repo, mode=mode)).json["mounted"][0]["commit"]
    box.put(repo, {"/f": b"two"})
    answer = ask(box, "PUT", "/_mount", mount(repo, mode=mode))
    assert (answer.status, answer.json["mounted"][0]["commit"]) == (200, before)


def test_another_cluster_does_not_wait_for_a_busy_mount(new_box: NewBox) -> None:
    box = new_box()
    repo = box.repo()
    box.put(repo, {"/f": b"one"})
    box.mount(repo)
    server = box.server()
    program = "import sys; open('f').read(1); sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read()"
    busy = subprocess.Popen(
        [sys.executable, "-c", program], cwd=box.path(repo), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert busy.stdout is not None
        assert busy.stdout.read(1) == b"x"
        started = time.monotonic()
        assert ask(box, "PUT", "/config", {"pachd_address": server.address}).status == 200
        assert ask(box, "GET", "/config").json["pachd_address"] == server.address
        assert time.monotonic() - started < SOON
    finally:
        busy.communicate(timeout=20)
    assert os.listdir(box.mount_dir) == []


def test_a_cluster_that_does_not_answer_is_invalid_within_seconds(new_box: NewBox) -> None:
    box = new_box()
    server = box.server()
    box.ok("login", server.address)
    server.freeze()
    try:
        started = time.monotonic()
        assert ask(box, "GET", "/config").json["cluster_status"] == "INVALID"
        assert ask(box, "PUT", "/config", {"pachd_address": "127.0.0.1:1"}).status == 500
        assert ask(box, "GET", "/config").json["pachd_address"] == server.address
        assert time.monotonic() - started < 3 * SOON
    finally:
        server.thaw()


def test_requests_that_wait_for_the_cluster_keep_no_poll_waiting(new_box: NewBox) -> None:
    box = new_box()
    server = box.server()
    box.ok("login", server.address)
    assert ask(box, "GET", "/mounts").status == 200
    server.freeze()
    try:
        with ThreadPoolExecutor(40) as many:
            waiting = [many.submit(ask, box, "GET", "/repos") for _ in range(30)]
            waiting += [many.submit(ask, box, "PUT", "/_mount", mount("r", str(number))) for number in range(10)]
            for route in ("/health", "/status", "/mounts", "/config", "/stats"):
                started = time.monotonic()
                assert ask(box, "GET", route).status == 200
                assert time.monotonic() - started < SOON
            server.thaw()
            assert all(future.result().status in (200, 400, 500) for future in waiting)
    finally:
        server.thaw()


def test_polling_costs_the_cluster_few_calls(box: Box, repo: str) -> None:
    for number in range(4):
        box.put(box.repo("faults"), {"/f": b"%d" % number})
    ask(box, "PUT", "/_mount", mount(repo))

    def calls() -> dict[str, int]:
        found: dict[str, int] = ask(box, "GET", "/stats").json["daemon"]["calls"]
        return found

    before = calls()
    for _ in range(10):
        assert ask(box, "GET", "/repos").status == 200
        assert ask(box, "GET", "/mounts").status == 200
    made = {name: number - before.get(name, 0) for name, number in calls().items()}
    assert made["ListRepo"] <= 20
    assert made["InspectBranch"] <= 12
    assert made.get("WhoAmI", 0) <= 4
    assert made.get("ListBranch", 0) == made.get("ListCommit", 0) == made.get("InspectProject", 0) == 0
