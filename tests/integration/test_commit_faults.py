"""A commit whose connection, login, daemon or disk fails at any step: whole or not there, never twice, nothing lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator

import grpc
import pytest

from pachmount.pfs.model import CommitRef, CommitState, RepoRef
from pachmount.pfs.proto import pfs_pb2
from tests.integration.box import Box, Server, wait_until
from tests.integration.call_proxy import StatusError
from tests.integration.commit_proxy import CommitProxy, When
from tests.integration.proxy import ByteProxy

BASE = {"/one": b"one\n", "/gone": b"gone\n", "/d/moved": b"moved\n", "/big": bytes(range(256)) * 8000}
STEPS: list[tuple[str, When]] = [
    ("CreateFileSet", "before"),
    ("CreateFileSet", "within"),
    ("CreateFileSet", "after"),
    ("StartCommit", "before"),
    ("StartCommit", "after"),
    ("AddFileSet", "before"),
    ("AddFileSet", "after"),
    ("FinishCommit", "before"),
    ("FinishCommit", "after"),
    ("InspectCommit", "after"),
    ("DiffFile", "before"),
    ("WalkFile", "before"),
]

KILLS: list[tuple[str, When]] = [("StartCommit", "after"), ("AddFileSet", "after"), ("FinishCommit", "after")]
"""Where the daemon is killed in the short run, too."""


class Wire:
    """A daemon behind two proxies: daemon → bytes → calls → server."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.server: Server = box.server()
        self.calls = CommitProxy(self.server.address)
        self.bytes = ByteProxy(self.calls.address)
        box.ok("login", self.bytes.address)

    def mounted(self) -> str:
        """A repo that is mounted for writing, with changes of all kinds."""
        name = self.box.repo("faults", self.server.address)
        self.box.put(name, BASE, address=self.server.address)
        self.box.ok("mount", name, "--rw")
        top = self.box.path(name)
        (top / "new").write_bytes(b"new\n" * 300_000)
        (top / "gone").unlink()
        os.rename(top / "d", top / "e")
        with (top / "one").open("ab") as file:
            file.write(b"two\n")
        return name

    def tree(self, name: str) -> dict[str, bytes]:
        client = self.box.cluster(self.server.address)
        repo = RepoRef("default", name)
        ref = CommitRef(repo, client.inspect_branch(repo).head.id)
        return {
            entry.path: b"".join(bytes(piece) for piece in client.open(ref, entry.path))
            for entry in client.walk(ref)
            if not entry.is_dir
        }

    def commits(self, name: str) -> list[CommitState]:
        found = self.box.cluster(self.server.address).list_commits(RepoRef("default", name))
        return [info.state for info in found if not info.error]

    def heal(self) -> None:
        self.calls.heal()
        self.bytes.heal()

    def close(self) -> None:
        self.heal()
        self.bytes.close()
        self.calls.__exit__()


CHANGED = {
    "/one": b"one\ntwo\n",
    "/new": b"new\n" * 300_000,
    "/e/moved": b"moved\n",
    "/big": BASE["/big"],
}


@pytest.fixture(scope="module")
def shared_wire(fuse: None) -> Iterator[Wire]:
    box = Box({"PACHMOUNT_CALL_TIMEOUT": "3", "PACHMOUNT_POLL_INTERVAL": "600"})
    wire = None
    try:
        wire = Wire(box)
        yield wire
        wire.heal()
        box.stop()
    finally:
        box.close()
        if wire is not None:
            wire.close()


@pytest.fixture
def wire(shared_wire: Wire) -> Iterator[Wire]:
    yield shared_wire
    shared_wire.heal()
    shared_wire.box.clean()


def changes(box: Box, name: str) -> list[str]:
    return sorted(change["path"] for change in json.loads(box.ok("diff", name, "--json"))["changes"])


def expired() -> None:
    raise StatusError(grpc.StatusCode.INTERNAL, "token expiration is in the past")


def denied() -> None:
    raise StatusError(grpc.StatusCode.PERMISSION_DENIED, "you are not authorized to perform this operation")


def assert_committed_once(wire: Wire, name: str) -> None:
    wire.heal()
    wire.box.ok("commit", name, "-m", "again")
    assert wire.tree(name) == CHANGED
    assert wire.commits(name) == [CommitState.FINISHED] * 2
    assert changes(wire.box, name) == []
    assert wire.box.mount_status(name)["behind"] == 0
    top = wire.box.path(name)
    assert {path: (top / path[1:]).read_bytes() for path in CHANGED} == CHANGED


@pytest.mark.parametrize("message", ["relabel", pytest.param("", marks=pytest.mark.long)])
@pytest.mark.parametrize(("method", "when"), STEPS)
def test_a_connection_that_is_lost(wire: Wire, method: str, when: When, message: str) -> None:
    name = wire.mounted()
    wire.calls.strike(method, when, wire.bytes.reset)
    done = wire.box.run("commit", name, "-m", message)
    assert done.returncode in (0, 69, 75), done
    assert_committed_once(wire, name)


@pytest.mark.parametrize(("method", "when"), STEPS[:9])
def test_a_cluster_that_goes_away(wire: Wire, method: str, when: When) -> None:
    name = wire.mounted()

    def strike() -> None:
        wire.bytes.refuse()
        wire.bytes.reset()

    wire.calls.strike(method, when, strike)
    wire.box.refused("commit", name, code=69)
    assert_committed_once(wire, name)


@pytest.mark.parametrize(("method", "when"), [step for step in STEPS[:9] if step[1] == "before"])
def test_a_login_that_expires(wire: Wire, method: str, when: When) -> None:
    name = wire.mounted()
    before = changes(wire.box, name)
    wire.calls.strike(method, when, expired)
    said = wire.box.refused("commit", name, code=77)
    assert "pachmount login" in said
    assert changes(wire.box, name) == before
    assert_committed_once(wire, name)


@pytest.mark.parametrize(
    ("method", "when"),
    [step if step in KILLS else pytest.param(*step, marks=pytest.mark.long) for step in STEPS[:9]],
)
@pytest.mark.parametrize("later", [False, True], ids=["at once", "after more changes"])
def test_a_daemon_that_is_killed(new_box: Callable[..., Box], method: str, when: When, later: bool) -> None:
    box = new_box(start=False, PACHMOUNT_POLL_INTERVAL="600")
    wire = Wire(box)
    try:
        name = wire.mounted()
        pid = box.pid
        wire.calls.strike(method, when, lambda: os.kill(pid, signal.SIGKILL))
        box.refused("commit", name, "-m", "first")
        wait_until(lambda: box.run("status").returncode != 0, "the daemon is gone")
        box.ok("daemon", "start")
        expected = dict(CHANGED)
        if later:
            (box.path(name) / "e" / "moved").write_bytes(b"later\n")
            expected["/e/moved"] = b"later\n"
        wire.heal()
        box.ok("commit", name, "-m", "again")
        assert wire.tree(name) == expected
        assert changes(box, name) == []
        commits = wire.commits(name)
        assert set(commits) == {CommitState.FINISHED}
        assert len(commits) == 2 or (later and len(commits) == 3 and method == "FinishCommit")
    finally:
        wire.close()


def test_a_commit_that_was_cut_off_is_taken_back_by_itself(new_box: Callable[..., Box]) -> None:
    """It would keep everybody else from committing."""
    box = new_box(start=False, PACHMOUNT_POLL_INTERVAL="0.5")
    wire = Wire(box)
    try:
        name = wire.mounted()
        pid = box.pid
        wire.calls.strike("AddFileSet", "before", lambda: os.kill(pid, signal.SIGKILL))
        box.refused("commit", name)
        assert CommitState.OPEN in wire.commits(name)
        wait_until(lambda: box.run("status").returncode != 0, "the daemon is gone")
        box.ok("daemon", "start")
        wait_until(lambda: wire.commits(name) == [CommitState.FINISHED], "the open commit is gone", 20)
        assert "/new" in changes(box, name)
    finally:
        wire.close()


def output_branch(answer: bytes) -> bytes:
    info = pfs_pb2.BranchInfo.FromString(answer)
    info.direct_provenance.add(name="master").repo.name = "input"
    return info.SerializeToString()


def test_a_branch_that_became_the_output_of_a_pipeline(wire: Wire) -> None:
    name = wire.mounted()
    wire.calls.rewritten = {"InspectBranch": output_branch, "ListBranch": output_branch}
    said = wire.box.refused("commit", name, code=77)
    assert "pipeline" in said
    assert f"pachmount commit {name} --branch NEW" in said
    wire.heal()
    assert_committed_once(wire, name)


def test_the_output_of_a_pipeline_is_not_mounted_for_writing(wire: Wire) -> None:
    name = wire.mounted()
    wire.calls.rewritten = {"InspectBranch": output_branch, "ListBranch": output_branch}
    said = wire.box.refused("mount", name, "--name", "again", "--rw", code=77)
    assert "it is the output of a pipeline" in said
    assert [mount["name"] for mount in wire.box.status()["mounts"]] == [name]
    wire.heal()


def test_a_permission_that_was_taken_away(wire: Wire) -> None:
    name = wire.mounted()
    before = changes(wire.box, name)
    wire.calls.strike("StartCommit", "before", denied)
    wire.box.refused("commit", name, code=77)
    assert changes(wire.box, name) == before
    assert_committed_once(wire, name)


def test_somebody_elses_commit_in_the_very_moment(wire: Wire) -> None:
    name = wire.mounted()
    wire.calls.strike(
        "StartCommit", "before", lambda: wire.box.put(name, {"/one": b"theirs\n"}, address=wire.server.address) and None
    )
    wire.box.refused("commit", name)
    assert wire.tree(name)["/one"] == b"theirs\n"
    assert "/one" in changes(wire.box, name)


def test_somebody_elses_open_commit_is_left_alone(wire: Wire) -> None:
    name = wire.mounted()
    client = wire.box.cluster(wire.server.address)
    commit = client.start_commit(RepoRef("default", name))
    assert commit.id in wire.box.refused("commit", name)
    client.finish_commit(commit)
    wire.box.ok("commit", name)
    assert wire.tree(name) == CHANGED
