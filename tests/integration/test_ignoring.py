"""What stays local because of a pattern, and changes as a patch: `diff --ignored`, `diff --patch`, commit, unmount."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pachmount.api.schema import CommitRequest, RefreshEntry
from pachmount.pfs.model import CommitRef, RepoRef
from tests.integration.box import Box
from tests.integration.test_committing import changes, server_tree

LEFT = {".a.swp": b"swap", "a~": b"before", "__pycache__/m.pyc": b"code", "d/.DS_Store": b"store", "d/#x#": b"x"}


@pytest.fixture
def repo(box: Box) -> str:
    name = box.repo("ignoring")
    box.put(name, {"/a": b"1\n2\n3\n", "/d/b": b"b\n", "/kept~": b"is in the commit"})
    box.mount(name, mode="rw")
    return name


def fill(top: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(content)


def ignored(box: Box, repo: str) -> list[str]:
    found: list[str] = json.loads(box.ok("diff", repo, "--json"))["ignored"]
    return found


def test_what_programs_leave_behind_stays_local(box: Box, repo: str) -> None:
    fill(box.path(repo), {**LEFT, "kept~": b"changed"})
    assert changes(box, repo) == [("M", "/kept~")]
    shown = box.ok("diff", repo, "--ignored")
    for path in ("/.a.swp", "/a~", "/__pycache__", "/d/.DS_Store", "/d/#x#"):
        assert f"I {path}\n" in shown
    assert "5 ignored paths not shown" in box.run("diff", repo).stderr
    box.ok("commit", repo)
    assert server_tree(box, repo) == {"/a": b"1\n2\n3\n", "/d/b": b"b\n", "/kept~": b"changed"}
    assert {path: box.path(repo, path).read_bytes() for path in LEFT} == LEFT
    done = box.run("unmount", repo)
    assert done.returncode == 0
    assert "5 ignored paths kept for the next mount" in done.stderr
    box.mount(repo, mode="rw")
    assert {path: box.path(repo, path).read_bytes() for path in LEFT} == LEFT
    assert changes(box, repo) == []
    box.ok("unmount", repo, "--discard", "--yes")
    box.mount(repo, mode="rw")
    assert ignored(box, repo) == []


def test_patterns_of_the_mount_and_of_the_user(box: Box, repo: str) -> None:
    top = box.path(repo)
    own = box.root / "config/pachmount/ignore"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text("*.mine\n*.tmp\n")
    try:
        fill(top, {"x.mine": b"", "x.tmp": b"", "x.log": b"", "logs/y": b"", "a~": b"", "keep.log": b""})
        (top / ".pachignore").write_text("*.log\n!keep.log\nlogs/\n!*.tmp\n")
        assert ignored(box, repo) == ["/a~", "/logs", "/x.log", "/x.mine"]
        assert changes(box, repo) == [("A", "/.pachignore"), ("A", "/keep.log"), ("A", "/x.tmp")]
        box.ok("commit", repo)
        assert ignored(box, repo) == ["/a~", "/logs", "/x.log", "/x.mine"]
        (top / ".pachignore").unlink()
        assert ignored(box, repo) == ["/a~", "/x.mine"]
    finally:
        own.unlink()


def test_patterns_that_cannot_be_used_lose_nothing(box: Box, repo: str) -> None:
    fill(box.path(repo), {".pachignore": b"*.log\n!\n", "new": b"new"})
    for command in (("diff", repo), ("commit", repo), ("unmount", repo)):
        said = box.refused(*command, code=78)
        assert "/.pachignore of the mount" in said
        assert "line 2" in said
        assert "hint: " in said
    assert box.path(repo, "new").read_bytes() == b"new"
    fill(box.path(repo), {".pachignore": b"*.log\n"})
    box.ok("commit", repo)


def test_a_patch_makes_the_commit_what_the_mount_is(box: Box, repo: str, tmp_path: Path) -> None:
    fill(tmp_path, {path[1:]: content for path, content in server_tree(box, repo).items()})
    top = box.path(repo)
    fill(top, {"a": b"1\ntwo\n3\n", "new": b"new", "picture": b"\0\1"})
    (top / "d/b").rename(top / "d/with space")
    (top / "kept~").unlink()
    text = box.ok("diff", repo, "--patch")
    assert "-2\n+two\n" in text
    assert "Binary files /dev/null and b/picture differ" in text
    for path in ("a", "d/with space", "d/b", "kept~", "new"):
        part = box.ok("diff", repo, path, "--patch")
        subprocess.run(["git", "apply", "--allow-empty", "-"], cwd=tmp_path, input=part, text=True, check=path != "d/b")
    mine = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    shown = {path.relative_to(top): path.read_bytes() for path in top.rglob("*") if path.is_file()}
    assert mine == {path: content for path, content in shown.items() if path.name != "picture"}
    assert box.ok("diff", repo, str(top / "d")).splitlines() == ["R /d/b -> /d/with space  (2 B)"]
    assert box.ok("diff", repo, "/none") == ""


@pytest.mark.parametrize("name", ["d~", "d[1]"])
def test_a_directory_that_is_renamed_to_what_is_not_committed_stays(box: Box, repo: str, name: str) -> None:
    """Its files are in no commit of the branch any more, only in the mount."""
    box.put(repo, {"/d/e/c": b"c" * 100_000})
    with box.daemon() as client:
        client.refresh([RefreshEntry(name=repo)])
    top = box.path(repo)
    (top / "d").rename(top / name)
    (top / "a").rename(top / name / "a~")
    mine = {"b": b"b\n", "e/c": b"c" * 100_000, "a~": b"1\n2\n3\n"}
    for number in range(2):
        fill(top, {"other": b"%d" % number})
        with box.daemon() as client:
            client.commit(CommitRequest(mount=repo, skip_invalid=True))
        assert server_tree(box, repo).keys() == {"/kept~", "/other"}
        assert {path: (top / name / path).read_bytes() for path in mine} == mine
    with box.daemon() as client:
        client.unmount([repo], staged="keep")
    box.mount(repo, mode="rw")
    assert {path: (top / name / path).read_bytes() for path in mine} == mine
    (top / name).rename(top / "d")
    box.ok("commit", repo)
    assert server_tree(box, repo)["/d/e/c"] == b"c" * 100_000


def test_others_delete_what_was_renamed_to_an_ignored_name(box: Box, repo: str) -> None:
    top = box.path(repo)
    (top / "d").rename(top / "d~")
    (top / "a").rename(top / "a~")
    client, ref = box.cluster(), RepoRef("default", repo)
    with client.modify_file(CommitRef(ref, "", "master")) as change:
        change.delete_file("/d/b")
        change.delete_file("/a")
    with box.daemon() as daemon:
        daemon.refresh([RefreshEntry(name=repo)])
    assert (top / "d~/b").read_bytes() == b"b\n"
    assert (top / "a~").read_bytes() == b"1\n2\n3\n"
    assert changes(box, repo) == []


def test_what_is_ignored_does_not_keep_the_next_mount_at_an_old_commit(box: Box, repo: str) -> None:
    top = box.path(repo)
    fill(top, {"a~": b"local"})
    box.ok("unmount", repo)
    box.put(repo, {"/a": b"newer"})
    assert box.mount(repo, mode="rw")["behind"] == 0
    assert ((top / "a").read_bytes(), (top / "a~").read_bytes()) == (b"newer", b"local")
    fill(top, {"b": b"staged"})
    with box.daemon() as client:
        client.unmount([repo], staged="keep")
    box.put(repo, {"/a": b"newest"})
    assert box.mount(repo, mode="rw")["behind"] == 1
    assert ((top / "a").read_bytes(), (top / "b").read_bytes()) == (b"newer", b"staged")
