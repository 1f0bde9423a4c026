"""A head that ended with an error: its newest ancestor without one is shown, and every command says so."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import grpc
import pytest

from pachmount.pfs.model import CommitRef, RepoRef
from tests.integration.box import Box, wait_until
from tests.integration.call_proxy import CONTENT_CALLS, LISTING_CALLS, Call, StatusError
from tests.integration.wire import Wire

REPO = RepoRef("default", "images")
ERROR = "the job broke"


@dataclass
class World:
    """`images` with the commits `old` and `good` and, at its head, `failed`, of which the cluster tells no files."""

    box: Box
    wire: Wire
    old: str = ""
    good: str = ""
    failed: str = ""

    def __post_init__(self) -> None:
        self.old = self.wire.put("images", {"/a": b"old", "/dir/b": b"b"})
        self.good = self.wire.put("images", {"/a": b"good"})
        self.failed = self.fail("images")

        def refuse(call: Call, messages: Iterable[bytes]) -> Iterable[bytes]:
            if call.method in LISTING_CALLS + CONTENT_CALLS and self.failed.encode() in call.request:
                raise StatusError(grpc.StatusCode.UNKNOWN, ERROR)
            return messages

        self.wire.calls.fault = refuse

    def fail(self, repo: str) -> str:
        """A commit with an error at the head of master; its id."""
        client = self.box.cluster(self.wire.server.address)
        commit = client.start_commit(RepoRef("default", repo))
        with client.modify_file(commit) as change:
            change.add_file("/of-the-failed", b"x")
        client.finish_commit(commit, error=ERROR)
        client.inspect_commit(commit, wait="finished", timeout=60)
        return commit.id

    @property
    def note(self) -> str:
        head = f"the head {self.failed[:8]} of default/images@master has an error: {ERROR}"
        return f"{head} — showing {self.good[:8]}"

    def files(self) -> dict[str, bytes]:
        """What the newest commit of master has."""
        client = self.box.cluster(self.wire.server.address)
        head = client.inspect_branch(REPO, "master").head
        assert not client.inspect_commit(head).error
        found = [entry.path for entry in client.walk(head) if not entry.is_dir]
        return {path: b"".join(map(bytes, client.open(head, path))) for path in found}


@pytest.fixture
def world(new_box: Callable[..., Box]) -> Iterator[World]:
    box = new_box(PACHMOUNT_POLL_INTERVAL="0.3")
    wire = Wire(box)
    wire.login()
    world = World(box, wire)
    yield world
    wire.close()


def test_what_reads_a_branch_shows_the_last_good_commit_and_says_so(world: World) -> None:
    box = world.box
    for command, answer in (
        (("list", "images@master"), "/a\n/dir/\n"),
        (("list", "-r", "images@master"), "/a\n/dir/\n/dir/b\n"),
        (("cat", "images:/a"), "good"),
        (("tree", "images"), "2 files"),
        (("get", "images:/a", "a"), "1 file"),
        (("checkout", "images", "co"), "2 files"),
        (("checkout", "--update", "co"), "2 files"),
        (("datum", "mount", "--pfs", "images:/a"), "datum"),
        (("datum", "unmount"), ""),
        (("mount", "images"), world.good[:8]),
        (("warmup", "images"), ""),
    ):
        done = box.run(*command)
        assert (done.returncode, answer in done.stdout) == (0, True), done
        if command[0] not in ("datum", "warmup", "mount"):
            assert world.note in done.stderr, done
    assert (box.root / "a").read_bytes() == b"good"
    assert box.path("images", "a").read_bytes() == b"good"
    for code in (
        "import pachmount; print(pachmount.open('images').read_bytes('/a'))",
        "import fsspec; print(fsspec.open('pfs://images@master/a').open().read())",
    ):
        done = box.sh(f'{sys.executable} -W always -c "$1"', code)
        assert (done.stdout, world.note in done.stderr) == ("b'good'\n", True), done
    done = box.run("cat", "images:/of-the-failed")
    assert (done.returncode, done.stdout, world.note in done.stderr) == (66, "", True), "it says why it is not there"


def test_the_commit_itself_is_refused_with_the_way_to_the_last_good_one(world: World) -> None:
    box = world.box
    box.mount("images")
    for command in (
        ("list", f"images@{world.failed}"),
        ("cat", f"images@{world.failed}:/a"),
        ("tree", f"images@{world.failed}"),
        ("get", f"images@{world.failed}:/a"),
        ("checkout", f"images@{world.failed}", "co"),
        ("mount", f"images@{world.failed}", "--name", "other"),
        ("mount", f"images@{world.failed[:10]}", "--name", "other"),
        ("mount", "images@master=" + world.failed, "--name", "other", "--rw"),
        ("refresh", "images", "--to", world.failed),
    ):
        said = box.refused(*command)
        assert ERROR in said, said
        assert f"pachmount list default/images@{world.good}" in said, said
    assert not (box.root / "co").exists()
    assert box.mount_status("images")["commit"] == world.good
    assert ERROR in box.ok("list", "--commits", "images")


def test_a_mount_says_why_it_is_not_at_the_head(world: World) -> None:
    box = world.box
    box.ok("mount", f"images@master={world.old}", "--name", "old")
    wait_until(lambda: box.mount_status("old")["behind"] == 1, "one commit can be shown that is newer")
    done = box.run("mount", "images")
    assert f"has an error: {ERROR}" in done.stderr
    wait_until(lambda: box.mount_status("images")["latest_commit"] == world.good, "its branch is looked at")
    told = box.mount_status("images")
    assert (told["commit"], told["behind"], told["error"]) == (world.good, 0, None)
    assert ERROR in told["note"]
    shown = box.run("status")
    assert f"has an error: {ERROR}" in shown.stdout
    assert "refresh old" in shown.stderr
    done = box.run("refresh", "images", "old")
    assert f"images: already at {world.good[:8]}" in done.stdout
    assert f"old: {world.old[:8]} -> {world.good[:8]}" in done.stdout
    better = world.wire.put("images", {"/a": b"better"})
    wait_until(lambda: box.mount_status("images")["behind"] == 1, "there is something new")
    assert box.refresh("images")["commit"] == better
    wait_until(lambda: not box.mount_status("images")["note"], "all is well")


def test_following_stays_quiet(world: World) -> None:
    box, calls = world.box, world.wire.calls
    box.ok("mount", "images", "--follow")
    wait_until(lambda: ERROR in box.mount_status("images")["note"], "it says why it does not move")
    mounted = box.mount_status("images")["mounted_at"]
    before = calls.calls["InspectBranch"]
    listed = calls.calls["ListCommit"]
    wait_until(lambda: calls.calls["InspectBranch"] > before + 8, "it is looked at some times")
    assert calls.calls["ListCommit"] - listed <= 2, "the same error is not looked into at each poll"
    told = box.mount_status("images")
    assert (told["commit"], told["behind"], told["mounted_at"]) == (world.good, 0, mounted)
    again = world.fail("images")
    wait_until(lambda: again[:8] in box.mount_status("images")["note"], "the next one is told of")
    better = world.wire.put("images", {"/a": b"better"})
    wait_until(lambda: box.mount_status("images")["commit"] == better, "it follows")


def test_commits_and_imports_on_top_work(new_box: Callable[..., Box]) -> None:
    box = new_box()
    world = World.__new__(World)
    wire = Wire(box)
    box.ok("login", wire.server.address)
    world.box, world.wire = box, wire
    wire.put("images", {"/a": b"old", "/dir/b": b"b"})
    world.good = wire.put("images", {"/a": b"good"})
    box.ok("mount", "images", "--rw")
    world.failed = world.fail("images")
    box.path("images", "mine").write_bytes(b"mine")
    box.ok("refresh", "images")
    assert box.mount_status("images")["commit"] == world.good
    assert "mine" in box.ok("diff", "images")
    box.ok("commit", "images")
    assert world.files()["/mine"] == b"mine"
    box.ok("unmount", "images")

    world.failed = world.fail("images")
    box.ok("mount", "images", "--rw")
    os.remove(box.path("images", "mine"))
    box.ok("unmount", "images")
    assert world.files() == {"/a": b"good", "/dir/b": b"b"}

    world.failed = world.fail("images")
    (box.root / "new").mkdir()
    (box.root / "new" / "imported").write_bytes(b"i")
    assert "same files" not in box.run("import", "new", "images").stderr
    assert world.files() == {"/a": b"good", "/dir/b": b"b", "/imported": b"i"}
    world.failed = world.fail("images")
    box.ok("import", "new", "images", "--replace")
    assert set(world.files()) == {"/imported"}
    wire.close()


def test_a_branch_with_nothing_but_errors(new_box: Callable[..., Box]) -> None:
    box = new_box()
    server = box.server()
    box.ok("login", server.address)
    client = box.cluster(server.address)
    client.create_repo(REPO)
    commit = client.start_commit(REPO)
    client.finish_commit(commit, error=ERROR)
    client.inspect_commit(commit, wait="finished", timeout=60)
    for command in (("list", "images@master"), ("mount", "images"), ("checkout", "images", "co")):
        said = box.refused(*command)
        assert ERROR in said
        assert "list --commits" in said
    box.ok("mount", "images", "--rw")
    box.path("images", "first").write_bytes(b"1")
    box.ok("unmount", "images")
    head = client.inspect_branch(REPO, "master").head
    assert [entry.path for entry in client.walk(CommitRef(REPO, head.id))] == ["/first"]
