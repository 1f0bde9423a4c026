"""Where a commit goes and what becomes of it: branches, conflicts resolved, the end of the daemon, mounts in error."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable

import pytest

from pachmount.pfs.model import CommitRef, RepoRef
from tests.integration.box import Box, wait_until
from tests.integration.test_committing import changes, commits, server_tree

FILES = {"/one": b"one\n", "/two": b"two\n", "/d/three": b"three\n", "/d/four": b"four\n"}


@pytest.fixture
def repo(box: Box) -> str:
    return mounted(box)


def mounted(box: Box) -> str:
    name = box.repo("choices")
    box.put(name, FILES)
    box.ok("mount", name, "--rw")
    return name


# --- branches


def test_another_branch_that_exists(box: Box, repo: str) -> None:
    box.put(repo, {"/one": b"one\n", "/dev": b"dev\n"}, "dev")
    (box.path(repo) / "new").write_bytes(b"new\n")
    before = server_tree(box, repo)
    box.ok("commit", repo, "--branch", "dev")
    assert server_tree(box, repo) == before
    assert server_tree(box, repo, "dev") == {"/one": b"one\n", "/dev": b"dev\n", "/new": b"new\n"}
    status = box.mount_status(repo)
    assert (status["branch"], status["behind"]) == ("dev", 0)
    assert sorted(os.listdir(box.path(repo))) == ["dev", "new", "one"]


def test_another_branch_with_other_versions_is_a_conflict(box: Box, repo: str) -> None:
    box.put(repo, {"/one": b"another\n"}, "dev")
    (box.path(repo) / "one").write_bytes(b"mine\n")
    said = box.refused("commit", repo, "--branch", "dev", code=1)
    assert "/one" in said
    assert changes(box, repo) == [("M", "/one")]
    assert box.mount_status(repo)["branch"] == "master"


def test_a_deleted_branch(box: Box, repo: str) -> None:
    (box.path(repo) / "new").write_bytes(b"new\n")
    box.cluster().delete_branch(RepoRef("default", repo), "master", force=True)
    assert "--branch" in box.refused("commit", repo)
    assert changes(box, repo) == [("A", "/new")]
    box.ok("commit", repo, "--branch", "again")
    assert server_tree(box, repo, "again") == {**FILES, "/new": b"new\n"}


def test_a_deleted_repo(box: Box, repo: str) -> None:
    (box.path(repo) / "new").write_bytes(b"new\n")
    box.cluster().delete_repo(RepoRef("default", repo), force=True)
    said = box.refused("commit", repo, code=66)
    assert "stay staged" in said
    box.refused("unmount", repo)
    assert (box.path(repo) / "new").read_bytes() == b"new\n"
    box.ok("unmount", repo, "--discard", "--yes")


# --- conflicts


def test_theirs_at_some_paths(box: Box, repo: str) -> None:
    top = box.path(repo)
    (top / "one").write_bytes(b"mine\n")
    (top / "two").write_bytes(b"mine\n")
    (top / "new").write_bytes(b"new\n")
    box.put(repo, {"/one": b"theirs\n", "/two": b"theirs\n"})
    box.refused("commit", repo, "--theirs", "/one")
    assert (top / "one").read_bytes() == b"mine\n"
    box.ok("commit", repo, "--theirs", "/one", "--theirs", str(top / "two"))
    expected = {**FILES, "/one": b"theirs\n", "/two": b"theirs\n", "/new": b"new\n"}
    assert server_tree(box, repo) == expected
    assert (top / "one").read_bytes() == b"theirs\n"


def test_theirs_in_a_directory_that_was_deleted(box: Box, repo: str) -> None:
    top = box.path(repo)
    (top / "d" / "three").unlink()
    (top / "d" / "four").unlink()
    (top / "d").rmdir()
    (top / "new").write_bytes(b"new\n")
    box.put(repo, {"/d/three": b"newer\n"})
    box.refused("commit", repo)
    box.ok("commit", repo, "--theirs", "/d")
    assert server_tree(box, repo) == {**FILES, "/d/three": b"newer\n", "/new": b"new\n"}


def test_theirs_wherever_anything_is_staged(box: Box, repo: str) -> None:
    """As JupyterLab's panel says it: only what both changed is given up."""
    top = box.path(repo)
    (top / "one").write_bytes(b"mine\n")
    (top / "two").write_bytes(b"mine\n")
    os.rename(top / "d" / "three", top / "moved")
    (top / "log~").write_bytes(b"local\n")
    (top / "x~").write_bytes(b"local\n")
    box.put(repo, {"/one": b"theirs\n", "/x~": b"theirs\n", "/d/three": b"newer\n"})
    box.refused("commit", repo)
    staged = ["/one", "/two", "/moved", "/d/three", "/log~", "/x~"]
    box.ok("commit", repo, *(argument for path in staged for argument in ("--theirs", path)))
    expected = {**FILES, "/one": b"theirs\n", "/two": b"mine\n", "/d/three": b"newer\n", "/x~": b"theirs\n"}
    tree = server_tree(box, repo)
    assert {path: tree[path] for path in expected} == expected
    assert (top / "log~").read_bytes() == b"local\n"


def test_ours_where_a_moved_directory_was_changed(box: Box, repo: str) -> None:
    """What moved is what was there, not what they made of it."""
    top = box.path(repo)
    os.rename(top / "d", top / "e")
    client = box.cluster()
    with client.modify_file(CommitRef(RepoRef("default", repo), "", "master")) as change:
        change.delete_file("/d/three")
        change.delete_file("/d/four")
    box.refused("commit", repo)
    box.ok("commit", repo, "--ours")
    expected = {"/one": b"one\n", "/two": b"two\n", "/e/three": b"three\n", "/e/four": b"four\n"}
    assert server_tree(box, repo) == expected
    assert {path: (top / path[1:]).read_bytes() for path in expected} == expected


def test_both_hashes_are_named(box: Box, repo: str) -> None:
    (box.path(repo) / "one").write_bytes(b"mine\n")
    box.put(repo, {"/one": b"theirs\n"})
    client, ref = box.cluster(), RepoRef("default", repo)
    theirs = client.inspect_file(CommitRef(ref, commits(box, repo)[0]), "/one").hash.hex()
    box.put(f"{repo}", {"/one": b"mine\n"}, "elsewhere")
    elsewhere = client.inspect_branch(ref, "elsewhere").head
    ours = client.inspect_file(elsewhere, "/one").hash.hex()
    said = box.refused("commit", repo)
    assert f"/one (ours: {ours[:12]}, theirs: {theirs[:12]})" in said


# --- the end of a mount, and of the daemon


def test_unmounting_tells_the_commit(box: Box, repo: str) -> None:
    (box.path(repo) / "new").write_bytes(b"new\n")
    done = box.run("unmount", repo, "-m", "at the end")
    newest = box.cluster().list_commits(RepoRef("default", repo))[0]
    assert newest.commit.id in done.stderr
    assert newest.description == "at the end"


def test_modes_and_times_alone_are_nothing_to_keep(box: Box, repo: str) -> None:
    (box.path(repo) / "one").chmod(0o600)
    (box.path(repo) / "new").write_bytes(b"new\n")
    box.ok("unmount", repo)
    assert "staged" not in box.ok("status")


@pytest.mark.parametrize(
    ("settings", "committed"),
    [({}, False), ({"PACHMOUNT_ON_SHUTDOWN": "commit"}, True), ({"SIDECAR_MODE": "True"}, True)],
    ids=["keep", "commit", "sidecar"],
)
def test_sigterm(new_box: Callable[..., Box], settings: dict[str, str], committed: bool) -> None:
    box = new_box(**settings)
    name = mounted(box)
    (box.path(name) / "a*b").write_bytes(b"x")
    log = os.open(box.path(name) / "log", os.O_WRONLY | os.O_CREAT)
    os.write(log, b"first\n")
    stop_by_signal(box)
    with contextlib.suppress(OSError):  # there is nobody any more to close it for
        os.close(log)
    if committed:
        assert "staged" in box.run("status").stdout
    else:
        assert f"{name}: staged: 2 files" in box.run("status").stdout
    box.start()
    tree = server_tree(box, name)
    assert tree.get("/log") == (b"first\n" if committed else None)
    assert (box.path(name) / "log").read_bytes() == b"first\n"
    assert (box.path(name) / "a*b").read_bytes() == b"x"


def test_sigterm_while_the_cluster_hangs(new_box: Callable[..., Box]) -> None:
    """What did not make it in time stays staged, and the daemon ends."""
    box = new_box(start=False, PACHMOUNT_ON_SHUTDOWN="commit", PACHMOUNT_SHUTDOWN_GRACE="2")
    server = box.server()
    box.ok("login", server.address)
    name = box.repo("hanging", server.address)
    box.put(name, FILES, address=server.address)
    box.ok("mount", name, "--rw")
    (box.path(name) / "new").write_bytes(b"new\n")
    server.freeze()
    try:
        stop_by_signal(box)
    finally:
        server.thaw()
    box.ok("daemon", "start")
    assert changes(box, name) == [("A", "/new")]
    box.ok("commit", name)
    assert box.log_problems() is not None


def stop_by_signal(box: Box) -> None:
    pid = box.pid
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the daemon has ended", 45)


# --- nothing is final


@pytest.mark.parametrize(
    "command", ["commit", "discard", "unmount", "unmount --discard", "unmount --keep", "remount --rw"]
)
def test_a_mount_in_error(new_box: Callable[..., Box], command: str) -> None:
    box = new_box()
    name = mounted(box)
    at = box.root / "elsewhere"
    box.ok("unmount", name)
    at.mkdir()
    box.ok("mount", name, str(at), "--rw")
    (at / "new").write_bytes(b"new\n")
    stop_by_signal(box)
    (at / "in the way").write_bytes(b"")
    box.ok("daemon", "start")
    assert box.mount_status(name)["state"] == "error"
    verb, *options = command.split()
    if command not in ("unmount --keep", "unmount --discard"):
        box.refused(verb, name, *options, *(["/one", "--yes"] if verb == "discard" else []))
        assert box.mount_status(name)["state"] == "error"
    (at / "in the way").unlink()
    box.ok(verb, name, *options, *(["--yes"] if "discard" in command else []))
    tree = server_tree(box, name)
    assert ("/new" in tree) == (command in ("commit", "unmount"))
    if verb in ("commit", "remount"):
        assert (at / "new").read_bytes() == b"new\n"
    if command == "unmount --keep":
        box.ok("mount", name, str(at), "--rw")
        assert changes(box, name) == [("A", "/new")]
    assert box.log_problems() is not None


def test_what_is_staged_is_told_of_without_mounts_and_without_a_daemon(new_box: Callable[..., Box]) -> None:
    box = new_box()
    name = mounted(box)
    (box.path(name) / "new").write_bytes(b"n" * 5000)
    assert "staged: 1 file, 4.9 KiB" in box.ok("status")
    box.ok("unmount", name, "--keep")
    for command in (["status"], ["daemon", "stop"], ["status"]):
        said = box.run(*command).stdout
        if command == ["status"]:
            assert f"'{name}' (staged: 1 file, 8.0 KiB)" in said
            assert "'pachmount staged list' tells more" in said
    kept = json.loads(box.run("status", "--json").stdout)["kept_changes"]
    assert [(each["name"], each["files"]) for each in kept] == [(name, 1)]
