"""Mounts that follow their branch: new commits, quick ones, moved heads, outages, restarts, and what they pass over."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pachmount.api import schema
from pachmount.pfs.model import CommitRef, RepoRef
from tests.integration.box import EXTERNAL_CLUSTER, Box, Server, wait_until
from tests.integration.call_proxy import Call, Fault, On, StatusError
from tests.integration.opening import Reader
from tests.integration.wire import Wire

BOX_ENV = {"PACHMOUNT_POLL_INTERVAL": "0.5"}


def follow(box: Box, repo: str, name: str = "", branch: str = "master") -> dict[str, Any]:
    """Mount a repo, following a branch; the mount."""
    entry = schema.MountEntry(name=name or repo, repo=repo, branch=branch, follow=True)
    with box.daemon() as client:
        client.mount([entry])
    return box.mount_status(entry.name)


def wait_for(box: Box, name: str, commit: str, timeout: float = 20) -> dict[str, Any]:
    """Wait until a mount shows a commit; its status."""
    wait_until(lambda: box.mount_status(name)["commit"] == commit, f"{name} shows {commit}", timeout)
    return box.mount_status(name)


def wait_for_note(box: Box, name: str) -> dict[str, Any]:
    """Wait until a mount says why it does not show the head of its branch; its status."""
    wait_until(lambda: (m := box.mount_status(name))["note"] and m["behind"], "the head is seen")
    return box.mount_status(name)


def test_a_following_mount_shows_each_new_commit(box: Box) -> None:
    name = box.repo("follow")
    first = box.put(name, {"/file": b"0"})
    mounted = json.loads(box.ok("mount", name, "--follow", "--json"))
    assert (mounted["commit"], mounted["follow"]) == (first, True)
    opened = box.path(name, "file").open("rb", buffering=0)
    with opened:
        for number in (1, 2, 3):
            commit = box.put(name, {"/file": b"%d" % number, f"/only{number}": b""})
            after = wait_for(box, name, commit)
            assert (after["behind"], after["latest_commit"], after["note"]) == (0, commit, "")
            assert after["status"] == f"up to date on latest commit {commit[:8]}"
            assert box.path(name, "file").read_bytes() == b"%d" % number
            assert box.path(name, f"only{number}").exists()
        assert opened.read() == b"0", "an open file stays in its commit"
    wait_until(lambda: box.status()["lingering_sessions"] == 0, "the replaced sessions end")
    assert "follows master" in box.ok("status")


def test_commits_that_come_in_quick_succession_are_skipped_and_no_open_fails(box: Box) -> None:
    name, stop = box.repo("rush"), threading.Event()
    box.put(name, {"/same": b"0", "/changing": b"0"})
    follow(box, name)
    commits: list[str] = []

    def commit() -> None:
        while not stop.is_set():
            commits.append(box.put(name, {"/changing": b"%d" % (len(commits) + 1)}))

    thread = threading.Thread(target=commit)
    shown: set[str] = set()
    with Reader(box, box.path(name), *map(str, range(2000))) as reader:
        thread.start()
        started = time.monotonic()
        while time.monotonic() < started + 6:
            shown.add(box.mount_status(name)["commit"])
            time.sleep(0.05)
        seconds = time.monotonic() - started
        stop.set()
        thread.join()
        wait_for(box, name, commits[-1])
    assert len(shown) > 2, "it moves while commits arrive"
    assert len(shown) <= 2 * seconds + 2, "at most a move in half a second"
    assert reader.wrong == 0
    assert reader.opened > 50
    if os.geteuid() == 0:
        assert reader.failures == []
    wait_until(lambda: box.status()["lingering_sessions"] == 0, "the replaced sessions end")


def test_a_head_that_is_moved_is_followed_backwards_and_to_another_line(box: Box) -> None:
    """No commit is made here, so that no stream tells of it: only looking at the branch does."""
    name, client = box.repo("heads"), box.cluster()
    ref = RepoRef("default", name)
    ids = [box.put(name, {"/file": b"%d" % number}) for number in range(3)]
    other = box.put(name, {"/file": b"other"}, "dev")
    follow(box, name)
    for commit, content in ((ids[0], b"0"), (other, b"other"), (ids[2], b"2")):
        client.create_branch(ref, "master", CommitRef(ref, commit))
        wait_for(box, name, commit)
        assert box.path(name, "file").read_bytes() == content


def test_a_commit_is_shown_once_it_is_finished(box: Box) -> None:
    name, client = box.repo("open"), box.cluster()
    ref = RepoRef("default", name)
    finished = box.put(name, {"/file": b"finished"})
    follow(box, name)
    opened = client.start_commit(ref)
    try:
        with client.modify_file(CommitRef(ref, opened.id, "master")) as change:
            change.add_file("/more", b"unfinished")
        told = wait_for_note(box, name)
        assert told["note"] == f"commit {opened.id[:8]} is not finished"
        assert (told["commit"], told["behind"]) == (finished, 1)
        assert os.listdir(box.path(name)) == ["file"]
    finally:
        client.finish_commit(opened)
    assert wait_for(box, name, opened.id)["note"] == ""
    assert sorted(os.listdir(box.path(name))) == ["file", "more"]


def test_an_empty_branch_is_shown_when_its_first_commit_is_finished(box: Box) -> None:
    name, client = box.repo("first"), box.cluster()
    ref = RepoRef("default", name)
    client.create_repo(ref)
    opened = client.start_commit(ref)
    try:
        with client.modify_file(CommitRef(ref, opened.id, "master")) as change:
            change.add_file("/file", b"text")
        assert follow(box, name)["commit"] == opened.id
        assert os.listdir(box.path(name)) == []
    finally:
        client.finish_commit(opened)
    wait_until(lambda: os.listdir(box.path(name)) == ["file"], "its file appears")
    assert box.path(name, "file").read_bytes() == b"text"


def test_a_commit_with_an_error_is_passed_over(box: Box) -> None:
    name, client = box.repo("failed"), box.cluster()
    good = box.put(name, {"/file": b"good"})
    follow(box, name)
    failed = client.start_commit(RepoRef("default", name))
    client.finish_commit(failed, error="the job broke")
    client.inspect_commit(failed, wait="finished", timeout=60)
    wait_until(lambda: box.mount_status(name)["note"], "the head is seen")
    told = box.mount_status(name)
    assert told["note"] == f"commit {failed.id[:8]} has an error: the job broke"
    assert (told["commit"], told["latest_commit"], told["behind"]) == (good, good, 0), "nothing newer can be shown"
    assert "the job broke" in box.ok("status")
    better = box.put(name, {"/file": b"better"})
    assert wait_for(box, name, better)["note"] == ""
    assert box.path(name, "file").read_bytes() == b"better"


def test_a_branch_or_repo_that_is_gone_unmounts_nothing_and_is_followed_when_it_is_back(box: Box) -> None:
    name, client = box.repo("gone"), box.cluster()
    ref = RepoRef("default", name)
    first = box.put(name, {"/file": b"0"})
    follow(box, name)
    client.delete_branch(ref, "master", force=True)
    wait_until(lambda: box.mount_status(name)["note"] == "branch 'master' does not exist any more", "it is told")
    assert box.path(name, "file").read_bytes() == b"0"
    client.create_branch(ref, "master", CommitRef(ref, first))
    wait_until(lambda: not box.mount_status(name)["note"], "the branch is back")
    client.delete_repo(ref, force=True)
    wait_until(lambda: "does not exist any more" in box.mount_status(name)["note"], "the repo is missed")
    with box.daemon() as daemon:
        assert [mount.name for mount in daemon.mounts().mounted] == [name]
    assert box.path(name, "file").read_bytes() == b"0"
    commit = box.put(name, {"/file": b"a new repo"})
    assert wait_for(box, name, commit)["state"] == "mounted"
    assert box.path(name, "file").read_bytes() == b"a new repo"


def test_following_is_turned_on_and_off(box: Box) -> None:
    name = box.repo("switch")
    first = box.put(name, {"/file": b"0"})
    box.mount(name)
    second = box.put(name, {"/file": b"1"})
    assert f"follows master, at {second[:8]}" in box.ok("follow", name)
    done = box.run("refresh", name, "--to", "master^")
    assert done.returncode == 0
    assert f"{name} does not follow master any more" in done.stderr
    assert box.mount_status(name)["commit"] == first
    third = box.put(name, {"/file": b"2"})
    wait_until(lambda: box.mount_status(name)["latest_commit"] == third, "the new head is seen")
    assert box.mount_status(name)["commit"] == first, "a mount that was put somewhere stays there"
    box.ok("mount", name, "--follow")
    wait_for(box, name, third)
    assert f"stays at {third[:8]}" in box.ok("follow", name, "--off")
    fourth = box.put(name, {"/file": b"3"})
    wait_until(lambda: box.mount_status(name)["latest_commit"] == fourth, "the new head is seen")
    assert box.mount_status(name)["commit"] == third


@pytest.mark.parametrize("source", ["{repo}@{id}", "{repo}@master={id}", "{repo}@master^", "{repo}@master~1"])
def test_what_names_one_commit_cannot_be_followed(box: Box, source: str) -> None:
    name = box.repo("pinned")
    ids = [box.put(name, {"/file": b"%d" % number}) for number in range(2)]
    said = box.refused("mount", source.format(repo=name, id=ids[0]), "--follow", code=2)
    assert "--follow" in said.splitlines()[1]
    with box.daemon() as daemon, pytest.raises(Exception, match="only the mount of a branch can follow it"):
        daemon.mount([schema.MountEntry(name=name, repo=name, commit=ids[0], follow=True)])
    assert box.status()["mounts"] == []


def test_a_read_write_mount_cannot_be_followed(box: Box) -> None:
    name = box.repo("follow")
    box.put(name, {"/file": b"0"})
    box.mount(name, mode="rw")
    box.path(name, "mine").write_bytes(b"mine")
    assert "cannot follow" in box.refused("follow", name, code=2)
    box.put(name, {"/file": b"1"})
    assert not box.refresh(name)["follow"]
    assert box.path(name, "file").read_bytes() == b"1"
    assert box.path(name, "mine").read_bytes() == b"mine"
    box.ok("commit", name)


def test_a_new_daemon_goes_on_following(box: Box) -> None:
    name = box.repo("restart")
    box.put(name, {"/file": b"0"})
    follow(box, name)
    box.ok("daemon", "stop", timeout=60)
    with_new_daemon = box.cluster  # the embedded server is started anew with the daemon
    box.ok("daemon", "start", timeout=60)
    assert box.mount_status(name)["follow"] is True
    commit = with_new_daemon(box.address).inspect_branch(RepoRef("default", name)).head.id
    assert box.mount_status(name)["commit"] == commit
    newer = box.put(name, {"/file": b"1"})
    wait_for(box, name, newer)
    assert box.path(name, "file").read_bytes() == b"1"


def test_streams_of_commits_come_and_go_with_the_mounts(box: Box) -> None:
    names = [box.repo("streams") for _ in range(18)]
    for name in names:
        box.put(name, {"/file": b"0"})
        follow(box, name)
    follow(box, names[0], "again")
    status = box.status()
    assert (status["follow_streams"], status["follow_streams_limit"]) == (16, 16)
    commit = box.put(names[-1], {"/file": b"1"})
    wait_for(box, names[-1], commit)
    box.unmount(*names[2:])
    assert box.status()["follow_streams"] == 2
    box.ok("follow", names[0], "--off")
    assert box.status()["follow_streams"] == 2, "another mount of that branch follows"
    box.clean()
    assert box.status()["follow_streams"] == 0
    wait_until(lambda: "commits" not in _thread_names(box), "the threads of the streams end")


def _thread_names(box: Box) -> list[str]:
    return [(task / "comm").read_text().strip() for task in Path(f"/proc/{box.pid}/task").iterdir()]


@pytest.mark.skipif(bool(EXTERNAL_CLUSTER), reason="starts a server of its own")
@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_following_goes_on_after_an_outage(how: str, new_box: Callable[..., Box]) -> None:
    box = new_box(start=False, PACHMOUNT_POLL_INTERVAL="1", PACHMOUNT_CALL_TIMEOUT="2", PACHMOUNT_READ_TIMEOUT="4")
    server: Server = box.server()
    box.ok("login", server.address)
    box.put("r", {"/file": b"0"}, address=server.address)
    follow(box, "r")
    assert box.path("r", "file").read_bytes() == b"0"
    if how == "frozen":
        server.freeze()
    else:
        server.kill()
    wait_until(lambda: box.status()["cluster"]["state"] == "unreachable", "the outage is noticed")
    mounted = box.mount_status("r")
    assert (mounted["state"], mounted["follow"]) == ("mounted", True)
    assert box.path("r", "file").read_bytes() == b"0"
    if how == "frozen":
        server.thaw()
    else:
        server.start()
    commit = box.put("r", {"/file": b"1"}, address=server.address)
    wait_for(box, "r", commit)
    assert box.path("r", "file").read_bytes() == b"1"
    box.ok("login", "--local")
    assert box.status()["follow_streams"] == 0, "the streams end with the connection"
    box.log_problems()  # libraries may log what they could not reach


def _unknown(call: Call, messages: Iterator[bytes]) -> Iterator[bytes]:
    raise StatusError(grpc.StatusCode.UNIMPLEMENTED)
    yield b""


def _ended(call: Call, messages: Iterator[bytes]) -> Iterator[bytes]:
    return iter(())


@pytest.mark.skipif(bool(EXTERNAL_CLUSTER), reason="starts a server of its own")
@pytest.mark.parametrize("fault", [_unknown, _ended])
def test_a_cluster_without_streams_of_commits_is_looked_at_all_the_same(
    fault: Fault, new_box: Callable[..., Box]
) -> None:
    box = new_box(start=False, PACHMOUNT_POLL_INTERVAL="0.5")
    wire = Wire(box)
    try:
        wire.calls.fault = On(fault, methods=["SubscribeCommit"])
        wire.login()
        wire.put("r", {"/file": b"0"})
        started = time.monotonic()
        follow(box, "r")
        for number in (1, 2, 3):
            wait_for(box, "r", wire.put("r", {"/file": b"%d" % number}))
            assert box.path("r", "file").read_bytes() == b"%d" % number
        attempts = wire.calls.calls["SubscribeCommit"]
        assert 1 <= attempts <= 2 + time.monotonic() - started, "it is not asked over and over"
    finally:
        wire.close()


@pytest.mark.skipif(bool(EXTERNAL_CLUSTER), reason="counts calls at a proxy before a server of its own")
def test_a_look_at_a_branch_costs_the_cluster_little(new_box: Callable[..., Box]) -> None:
    """A stream tells of a commit long before the next look, and no look lists the history."""
    box = new_box(start=False, PACHMOUNT_POLL_INTERVAL="60")
    wire = Wire(box)
    try:
        wire.login()
        for number in range(20):
            wire.put("r", {"/file": b"%d" % number})
        follow(box, "r")
        before = wire.calls.calls["ListCommit"]
        wait_for(box, "r", wire.put("r", {"/file": b"new"}))
        assert box.path("r", "file").read_bytes() == b"new"
        assert wire.calls.calls["ListCommit"] - before <= 1
    finally:
        wire.close()
