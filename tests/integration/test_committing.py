"""Read-write mounts from mount to commit: what is committed, what stays staged, what others did meanwhile."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pachmount.api.schema import CommitRequest
from pachmount.errors import InvalidPathError
from pachmount.pfs.model import CommitRef, RepoRef
from tests.integration.box import Box, wait_until

BIG = os.urandom(3 << 20)


@pytest.fixture
def repo(box: Box) -> str:
    name = box.repo("writing")
    box.put(name, {"/one": b"one\n", "/d/two": b"two\n", "/d/three": b"three\n", "/big": BIG})
    box.ok("mount", name, "--rw")
    return name


def server_tree(box: Box, repo: str, branch: str = "master") -> dict[str, bytes]:
    """What the server has."""
    client = box.cluster()
    ref = CommitRef(RepoRef("default", repo), client.inspect_branch(RepoRef("default", repo), branch).head.id)
    files = [entry.path for entry in client.walk(ref) if not entry.is_dir]
    return {path: b"".join(bytes(piece) for piece in client.open(ref, path)) for path in files}


def commits(box: Box, repo: str) -> list[str]:
    return [info.commit.id for info in box.cluster().list_commits(RepoRef("default", repo))]


def changes(box: Box, name: str) -> list[tuple[str, str]]:
    found = json.loads(box.ok("diff", name, "--json"))
    return [(change["kind"], change["path"]) for change in found["changes"]]


def test_a_commit_holds_exactly_the_changes(box: Box, repo: str) -> None:
    top = box.path(repo)
    with open(top / "one", "ab") as file:
        file.write(b"more\n")
    os.rename(top / "d", top / "e")
    (top / "new").write_bytes(b"new\n")
    (top / "link").symlink_to("new")
    (top / "big").unlink()
    (top / "empty").mkdir()
    expected = [("D", "/big"), ("R", "/e/three"), ("R", "/e/two"), ("A", "/link"), ("A", "/new"), ("M", "/one")]
    assert sorted(changes(box, repo), key=lambda change: change[1]) == expected
    assert "committed 6 changes" in box.ok("commit", repo, "-m", "all of it")
    tree = {
        "/one": b"one\nmore\n",
        "/e/two": b"two\n",
        "/e/three": b"three\n",
        "/new": b"new\n",
        "/link": b"new\n",
    }
    assert server_tree(box, repo) == tree
    status = box.mount_status(repo)
    assert (status["commit"], status["behind"]) == (commits(box, repo)[0], 0)
    assert {path: box.path(repo, path[1:]).read_bytes() for path in tree} == tree
    assert (top / "link").is_symlink()
    assert (top / "empty").is_dir()
    assert changes(box, repo) == []


def test_what_is_only_deleted_is_told(box: Box, repo: str) -> None:
    assert box.mount_status(repo)["staged"]["changed"] is False
    (box.path(repo) / "one").unlink()
    staged = box.mount_status(repo)["staged"]
    assert (staged["changed"], staged["files"]) == (True, 0)
    assert "staged: something deleted or renamed" in box.ok("status")


def test_after_a_commit_nothing_is_told(box: Box, repo: str) -> None:
    (box.path(repo) / "one").write_bytes(b"one more\n")
    (box.path(repo) / "new").mkdir()
    (box.path(repo) / "new/two").write_bytes(b"two\n")
    assert box.mount_status(repo)["staged"]["changed"]
    box.ok("commit", repo)
    assert not box.mount_status(repo)["staged"]["changed"]
    (box.path(repo) / "new/two").rename(box.path(repo) / "new/three")
    assert box.mount_status(repo)["staged"]["changed"]


def test_no_change_is_no_commit(box: Box, repo: str) -> None:
    before = commits(box, repo)
    (box.path(repo) / "one").write_bytes(b"one\n")
    (box.path(repo) / "one").chmod(0o755)
    os.rename(box.path(repo, "d"), box.path(repo, "e"))
    os.rename(box.path(repo, "e"), box.path(repo, "d"))
    assert "nothing to commit" in box.ok("commit", repo)
    box.ok("unmount", repo)
    assert commits(box, repo) == before


def test_only_what_is_new_is_sent_again(box: Box, repo: str) -> None:
    top = box.path(repo)
    for number in range(300):
        (top / f"file{number}").write_bytes(b"%d" % number)
    assert "committed 300 changes" in box.ok("commit", repo)
    with open(top / "file7", "ab") as file:
        file.write(b"!")
    assert changes(box, repo) == [("M", "/file7")]
    assert "committed 1 change " in box.ok("commit", repo)
    assert server_tree(box, repo)["/file7"] == b"7!"


def test_an_open_file_is_reported_and_can_be_committed_as_it_is(box: Box, repo: str) -> None:
    top = box.path(repo)
    with open(top / "log", "wb", buffering=0) as file:
        file.write(b"first\n")
        assert "/log" in box.refused("commit", repo)
        box.ok("commit", repo, "--allow-open")
        file.write(b"second\n")
        assert server_tree(box, repo)["/log"] == b"first\n"
        box.refused("unmount", repo)
    assert (top / "log").read_bytes() == b"first\nsecond\n"
    box.ok("commit", repo)
    assert server_tree(box, repo)["/log"] == b"first\nsecond\n"


def test_others_changes_elsewhere_are_kept(box: Box, repo: str) -> None:
    (box.path(repo) / "one").write_bytes(b"mine\n")
    box.put(repo, {"/theirs": b"theirs\n", "/d/two": b"newer\n"})
    box.ok("commit", repo)
    tree = server_tree(box, repo)
    assert (tree["/one"], tree["/theirs"], tree["/d/two"]) == (b"mine\n", b"theirs\n", b"newer\n")
    assert (box.path(repo) / "theirs").read_bytes() == b"theirs\n"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda top: (top / "one").write_bytes(b"mine\n"), {"/one": b"theirs\n"}),
        (lambda top: (top / "one").unlink(), {"/one": b"theirs\n"}),
        (
            lambda top: [(top / "d" / name).unlink() for name in ("two", "three")] and (top / "d").rmdir(),
            {"/d/x": b"x"},
        ),
        (lambda top: os.rename(top / "d", top / "e"), {"/d/x": b"x"}),
        (lambda top: (top / "new").mkdir() or (top / "new/a").write_bytes(b"a"), {"/new": b"a file\n"}),
    ],
    ids=["same file", "deleted", "deleted directory", "renamed directory", "file and directory"],
)
def test_a_newer_version_is_never_replaced(
    box: Box, repo: str, ours: Callable[[Path], Any], theirs: dict[str, bytes]
) -> None:
    ours(box.path(repo))
    staged = changes(box, repo)
    box.put(repo, theirs)
    before = server_tree(box, repo)
    box.refused("commit", repo)
    box.refused("unmount", repo)
    assert server_tree(box, repo) == before
    assert changes(box, repo) == staged
    box.ok("commit", repo, "--branch", "mine")
    assert box.mount_status(repo)["branch"] == "mine"
    assert server_tree(box, repo) == before


def test_a_commit_whose_confirmation_was_lost_is_not_made_again(box: Box, repo: str) -> None:
    (box.path(repo) / "one").write_bytes(b"mine\n")
    (box.path(repo) / "big").write_bytes(BIG[::-1])
    os.rename(box.path(repo, "d", "two"), box.path(repo, "d", "four"))
    client = box.cluster()
    with client.modify_file(CommitRef(RepoRef("default", repo), "", "master")) as writer:
        for path in ("/one", "/big", "/d/two"):
            writer.delete_file(path)
        for path, content in {"/one": b"mine\n", "/big": BIG[::-1], "/d/four": b"two\n"}.items():
            writer.add_file(path, content)
    before = commits(box, repo)
    box.ok("commit", repo)
    assert commits(box, repo) == before
    assert box.mount_status(repo)["commit"] == before[0]
    assert box.mount_status(repo)["staged"]["bytes"] == 0
    assert changes(box, repo) == []


def test_refreshing_keeps_what_is_staged(box: Box, repo: str) -> None:
    (box.path(repo) / "new").write_bytes(b"new\n")
    newest = box.put(repo, {"/theirs": b"theirs\n"})
    box.ok("refresh", repo)
    assert box.mount_status(repo)["commit"] == newest
    assert sorted(os.listdir(box.path(repo))) == ["big", "d", "new", "one", "theirs"]
    box.put(repo, {"/new": b"other\n"})
    box.refused("refresh", repo)
    assert changes(box, repo) == [("A", "/new")]


def test_a_file_that_is_about_to_be_written_does_not_change_under_its_program(box: Box, repo: str) -> None:
    with open(box.path(repo) / "one", "r+b", buffering=0) as file:
        box.put(repo, {"/one": b"theirs\n"})
        (box.path(repo) / "new").write_bytes(b"new\n")
        box.refused("commit", repo)
        assert file.read() == b"one\n"
    box.ok("commit", repo)
    assert (box.path(repo) / "one").read_bytes() == b"theirs\n"


def test_ours_replaces_theirs_when_that_is_asked_for(box: Box, repo: str) -> None:
    (box.path(repo) / "one").write_bytes(b"mine\n")
    box.put(repo, {"/one": b"theirs\n"})
    box.ok("commit", repo, "--ours")
    assert server_tree(box, repo)["/one"] == b"mine\n"


def test_read_only_and_read_write_again_keeps_what_is_staged(box: Box, repo: str) -> None:
    top = box.path(repo)
    (top / "new").write_bytes(b"new\n")
    with open(top / "one", "ab"):
        box.refused("remount", repo, "--ro")
    box.ok("remount", repo, "--ro")
    assert sorted(os.listdir(top)) == ["big", "d", "one"]
    with pytest.raises(OSError, match="Read-only"):
        (top / "one").write_bytes(b"")
    box.ok("remount", repo, "--rw")
    assert (top / "new").read_bytes() == b"new\n"
    assert changes(box, repo) == [("A", "/new")]


def test_discarding(box: Box, repo: str) -> None:
    top = box.path(repo)
    (top / "one").unlink()
    os.rename(top / "d", top / "e")
    (top / "new").write_bytes(b"new\n")
    box.ok("discard", repo, "/one", "--yes")
    assert (top / "one").read_bytes() == b"one\n"
    assert ("A", "/new") in changes(box, repo)
    box.ok("discard", repo, "--yes")
    assert changes(box, repo) == []
    assert sorted(os.listdir(top)) == ["big", "d", "one"]


def test_staged_changes_survive_kill_9_and_unmounting(box: Box, repo: str) -> None:
    (box.path(repo) / "new").write_bytes(b"new\n")
    os.kill(box.pid, signal.SIGKILL)
    wait_until(lambda: box.run("status").returncode != 0, "the daemon is gone")
    box.start()
    assert (box.path(repo) / "new").read_bytes() == b"new\n"
    box.ok("unmount", repo, "--keep")
    assert f"'{repo}'" in box.ok("status")
    box.ok("mount", repo, "--rw")
    assert changes(box, repo) == [("A", "/new")]
    box.ok("unmount", repo, "--discard", "--yes")
    assert "/new" not in server_tree(box, repo)


def test_damaged_changes_are_told_of_and_left_alone(box: Box, repo: str) -> None:
    (box.path(repo) / "new").write_bytes(b"new\n")
    box.ok("unmount", repo, "--keep")
    store = box.places.lock_file.parent / "staged" / repo / "names.sqlite"
    whole = store.read_bytes()
    store.write_bytes(b"nonsense" * 1000)
    for left in ("-wal", "-shm"):
        store.with_name(store.name + left).unlink(missing_ok=True)
    assert "damaged" in box.refused("mount", repo, "--rw")
    assert f"'{repo}'" in box.ok("status")
    store.write_bytes(whole)
    box.ok("mount", repo, "--rw")
    assert (box.path(repo) / "new").read_bytes() == b"new\n"


def test_what_cannot_be_stored_is_named_and_can_stay(box: Box, repo: str) -> None:
    top = box.path(repo)
    (top / "a*b").write_bytes(b"x")
    (top / "out").symlink_to("/etc/hostname")
    (top / "new").write_bytes(b"new\n")
    said = box.refused("commit", repo)
    assert "/a*b" in said
    assert "/out" in said
    box.ok("commit", repo, "--skip-invalid")
    assert server_tree(box, repo)["/new"] == b"new\n"
    assert (top / "a*b").read_bytes() == b"x"


def test_an_empty_repo_and_a_new_branch(box: Box) -> None:
    name = box.repo("fresh")
    box.cluster().create_repo(RepoRef("default", name))
    box.ok("mount", f"{name}@dev", "--rw")
    (box.path(name) / "first").write_bytes(b"1")
    box.ok("unmount", name)
    assert server_tree(box, name, "dev") == {"/first": b"1"}


def test_links_are_committed_as_copies_of_what_they_lead_to(box: Box) -> None:
    name = box.repo("links")
    box.put(name, {"/one": b"one\n", "/d/two": b"two\n", "/d/e/three": b"three\n"})
    box.ok("mount", name, "--rw")
    top = box.path(name)
    links = {
        "to-file": "one",
        "to-directory": "d",
        "absolute": str(top / "d/e"),
        "d/e/up": "../../one",
        "chain": "to-file",
        "through": "d/e/../two",
        "beside": "to-directory/e/../two",
    }
    for path, target in links.items():
        (top / path).symlink_to(target)
    box.ok("commit", name)
    own = {"/one": b"one\n", "/d/two": b"two\n", "/d/e/three": b"three\n", "/d/e/up": b"one\n"}
    assert server_tree(box, name) == {
        **own,
        **{path.replace("/d/", "/to-directory/"): content for path, content in own.items() if path.startswith("/d/")},
        "/to-file": b"one\n",
        "/chain": b"one\n",
        "/absolute/three": b"three\n",
        "/absolute/up": b"one\n",
        "/through": b"two\n",
        "/beside": b"two\n",
    }
    assert {path: os.readlink(top / path) for path in links} == links
    assert changes(box, name) == []


@pytest.mark.parametrize(
    "target", [".", "..", "../else", "/etc/hostname", "nowhere", "self", "d/..", "one/in", "d/back"]
)
def test_links_that_lead_out_nowhere_or_back_are_refused(box: Box, repo: str, target: str) -> None:
    top = box.path(repo)
    (top / "self").symlink_to("link" if target == "self" else "one")
    (top / "d/back").symlink_to(".." if target == "d/back" else "two")
    (top / "link").symlink_to(target)
    with box.daemon() as client:
        assert "/link" in [refused.path for refused in client.diff(repo).refused]
        with pytest.raises(InvalidPathError):
            client.commit(CommitRequest(mount=repo))
        client.commit(CommitRequest(mount=repo, skip_invalid=True))
    assert "/link" not in server_tree(box, repo)


@pytest.mark.timeout(60)
def test_directories_that_link_to_each_other_end_soon(box: Box) -> None:
    name = box.repo("web")
    box.put(name, {f"/{number}/file": b"%d" % number for number in range(9)})
    box.mount(name, mode="rw")
    for number in range(9):
        for other in range(9):
            if number != other:
                box.path(name, str(number), f"to-{other}").symlink_to(f"../{other}")
    with box.daemon() as client:
        found = client.diff(name, ["/0"])
    assert "/0/to-1/to-2/to-3/to-4/to-5" in [refused.path for refused in found.refused]
    assert "/0/to-1/to-2/to-3/to-4/file" in [change.path for change in found.changes]


def test_a_name_takes_no_room_when_nothing_is_staged_under_it(box: Box, repo: str) -> None:
    def stores() -> list[str]:
        return os.listdir(box.places.staged)

    box.path(repo, "new").write_bytes(b"new\n")
    assert stores() == [repo]
    with box.daemon() as client:
        client.unmount([repo], staged="keep")
        assert stores() == [repo]
        box.mount(repo, mode="rw")
        assert box.path(repo, "new").read_bytes() == b"new\n"
        client.unmount([repo], staged="commit")
        assert stores() == []
        assert server_tree(box, repo)["/new"] == b"new\n"
        box.mount(repo, mode="rw")
        client.remount([repo], "ro")
        client.unmount([repo])
        assert stores() == []
