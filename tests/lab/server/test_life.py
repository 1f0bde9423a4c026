"""The daemon's life as the extension has a hand in it: found, started once, told of, restarted, stopped or left."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from pachmount import __version__
from tests.cli.fake_daemon import FakeDaemon, status_answer
from tests.integration.box import Box, wait_until
from tests.lab.server.jupyter import SlowDaemon, jupyter, meanwhile

NewBox = Callable[..., Box]


@pytest.fixture
def bare_box() -> Iterator[Box]:
    """Nothing runs, and nothing needs FUSE."""
    box = Box()
    yield box
    box.close()


@pytest.fixture
def slow(bare_box: Box) -> Iterator[SlowDaemon]:
    daemon = SlowDaemon(bare_box.places.socket)
    yield daemon
    daemon.close()


def test_it_is_not_started_before_it_is_needed_and_then_by_a_poll(new_box: NewBox) -> None:
    box = new_box(start=False)
    with jupyter(box) as lab:
        assert lab.get("/health", ours=False).status_code == 500
        assert lab.get("/health", ours=False).json()["reason"] == "Mount server not running."
        assert not box.places.socket.exists()
        assert lab.state()["daemon"] == "starting"
        state = lab.until("running")
        assert state["error"] is None
        assert (state["sidecar"], state["mount_dir"], state["version"]) == (False, str(box.mount_dir), __version__)
        assert state["status"]["pid"] == box.pid
        assert state["fuse"] == {"available": True, "reason": ""}
        assert state["contents"] == {"root": "pfs"}
    assert box.status()["pid"], "it is left running"


def test_a_request_starts_it_and_waits_for_it(new_box: NewBox) -> None:
    box = new_box(start=False)
    with jupyter(box) as lab:
        assert lab.ok("GET", "/projects")[0]["project"]["name"] == "default"


def test_one_that_died_is_told_of_and_started_by_request_only(new_box: NewBox) -> None:
    box = new_box()
    with jupyter(box) as lab:
        assert lab.state()["daemon"] == "running"
        os.kill(box.pid, signal.SIGKILL)
        state = lab.until("stopped")
        assert (state["status"], state["error"]["id"]) == (None, "daemon-not-running")
        answer = lab.get("/projects")
        assert (answer.status_code, answer.json()["id"]) == (503, "daemon-not-running")
        answer = lab.get("/projects", ours=False)
        assert answer.json()["message"] == "Service Unavailable"
        assert "the daemon is not running" in answer.json()["reason"]
        assert lab.ok("PUT", "/daemon/_start")["daemon"] == "running"
        first = box.pid
        assert lab.ok("PUT", "/daemon/_restart")["daemon"] == "running"
        assert box.pid != first
        assert lab.ok("PUT", "/daemon/_start")["daemon"] == "running"


def test_a_start_that_failed_is_not_repeated_until_somebody_asks(bare_box: Box) -> None:
    blocked = bare_box.root / "file"
    blocked.write_text("")
    with jupyter(bare_box, PFS_MOUNT_DIR=str(blocked)) as lab:
        lab.state()
        state = lab.until("failed")
        assert state["error"]["error"] == f"cannot use the mount directory '{blocked}'"
        assert lab.get("/projects").json() == state["error"]
        tries = lab.log().count("cannot start the daemon")
        for _ in range(5):
            assert lab.state()["daemon"] == "failed"
            assert not lab.get("/projects").ok
        assert lab.log().count("cannot start the daemon") == tries == 1
        assert lab.put("/daemon/_start").json() == state["error"]
        blocked.unlink()
        assert lab.ok("PUT", "/daemon/_start")["daemon"] == "running"
        assert bare_box.run("daemon", "stop", PFS_MOUNT_DIR=str(blocked)).returncode == 0


def test_in_sidecar_mode_it_is_somebody_elses_to_start(new_box: NewBox) -> None:
    box = new_box(start=False)
    with jupyter(box, SIDECAR_MODE="True") as lab:
        state = lab.state()
        assert (state["daemon"], state["sidecar"]) == ("unreachable", True)
        assert state["error"]["hint"] == "there: pachmount daemon run"
        assert lab.get("/projects").status_code == 503
        assert lab.put("/daemon/_start").status_code == 409
        assert lab.put("/daemon/_restart").status_code == 409
        assert not box.places.socket.exists()
        box.start()
        assert lab.state()["daemon"] == "running"


def test_over_tcp_with_a_token(new_box: NewBox) -> None:
    box = new_box(PACHMOUNT_LISTEN="127.0.0.1:0")
    box.put("images", {"/a.txt": b"one\n"})
    box.mount("images")
    reach = {"PACHMOUNT_URL": str(box.status()["listen"]), "PACHMOUNT_TOKEN_FILE": str(box.places.token_file)}
    with jupyter(box, **reach) as lab:
        state = lab.state()
        assert (state["daemon"], state["sidecar"]) == ("running", True)
        assert lab.ok("GET", "/contents/images/a.txt")["content"] == "one\n"
    with jupyter(box, **(reach | {"PACHMOUNT_TOKEN_FILE": ""})) as lab:
        state = lab.state()
        assert (state["daemon"], state["error"]["id"]) == ("unreachable", "token-required")
        assert lab.get("/repos").status_code == 401
        assert "asks for its token" in lab.get("/repos", ours=False).json()["reason"]
    with jupyter(box, **(reach | {"PACHMOUNT_TOKEN_FILE": "/nothing"})) as lab:
        assert lab.state()["error"]["id"] == "bad-configuration"


def test_one_of_another_version_is_used_and_told_of(bare_box: Box) -> None:
    fake = FakeDaemon(_socket(bare_box))
    fake.routes["GET /status"] = {**status_answer([]), "version": "9.9", "something": "new"}
    fake.routes["GET /repos"] = []
    try:
        with jupyter(bare_box) as lab:
            state = lab.state()
            assert (state["daemon"], state["status"]["version"]) == ("other-version", "9.9")
            assert "9.9" in state["error"]["error"]
            assert lab.ok("GET", "/repos") == []
            fake.routes["GET /status"] = {"version": "9.9"}
            assert lab.state()["daemon"] == "unreachable"
    finally:
        fake.stop()


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
                                    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"])  # fmt: skip
def test_somebody_else_who_answers_nonsense_is_no_daemon(bare_box: Box, slow: SlowDaemon, answer: bytes) -> None:
    slow.answer = answer
    slow.release.set()
    with jupyter(bare_box) as lab:
        state = lab.state()
        assert (state["daemon"], state["error"]["id"]) == ("unreachable", "daemon-unreachable")
        if answer[-2:] != b"[]":
            assert lab.get("/repos").status_code == 503


def test_a_file_that_is_cut_off_is_no_whole_one(bare_box: Box, slow: SlowDaemon) -> None:
    slow.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"
    slow.release.set()
    with jupyter(bare_box) as lab, pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        lab.get("/content?source=x:/y")


def test_a_slow_answer_holds_nobody_else_up_and_has_no_limit_of_20_seconds(bare_box: Box, slow: SlowDaemon) -> None:
    slow.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    with jupyter(bare_box) as lab, meanwhile(lambda: lab.ok("PUT", "/datums/_mount", {})) as mounted:
        slow.asked.wait(20)
        answer = lab.session.get(f"{lab.url}api/status", timeout=5)
        assert answer.ok, "Jupyter's loop is free"
        with pytest.raises(TimeoutError if sys.version_info >= (3, 11) else Exception):
            mounted.result(22)
        slow.release.set()
        assert mounted.result(20) == {}


def test_a_request_whose_browser_left_is_given_up(bare_box: Box, slow: SlowDaemon) -> None:
    with jupyter(bare_box) as lab:
        with pytest.raises(requests.Timeout):
            lab.session.put(f"{lab.api}/_commit", data="{}", timeout=1)
        assert slow.asked.is_set()
        assert slow.left.wait(10), "the daemon's connection is closed"


@pytest.mark.parametrize("how", ["setting", "variable"])
def test_it_ends_with_jupyter_if_that_is_wished_and_we_started_it(new_box: NewBox, how: str) -> None:
    box = new_box(start=False)
    arguments = ["--PachmountLab.stop_daemon=True"] if how == "setting" else []
    env = {"PACHMOUNT_LAB_STOP_DAEMON": "1"} if how == "variable" else {}
    with jupyter(box, *arguments, **env) as lab:
        lab.state()
        lab.until("running")
        pid = box.pid
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the daemon ends")


def test_one_that_was_there_before_does_not_end_with_jupyter(new_box: NewBox) -> None:
    box = new_box()
    with jupyter(box, "--PachmountLab.stop_daemon=True") as lab:
        assert lab.state()["daemon"] == "running"
    assert box.status()["pid"] == box.pid


def test_a_state_that_did_not_change_is_not_sent_again(new_box: NewBox) -> None:
    with jupyter(new_box()) as lab:

        def is_known() -> bool:
            etag = lab.get("/state").headers["ETag"]
            return lab.get("/state", headers={"If-None-Match": etag}).status_code == 304

        wait_until(is_known, "nothing changes any more")


def test_without_fuse_the_state_says_why(new_box: NewBox) -> None:
    with jupyter(new_box(), FUSE_LIBRARY_PATH="libnothing.so.2") as lab:
        fuse = lab.state()["fuse"]
        assert fuse["available"] is False
        assert "libnothing" in fuse["reason"]


def _socket(box: Box) -> Path:
    box.places.socket.parent.mkdir(parents=True, exist_ok=True)
    return box.places.socket
