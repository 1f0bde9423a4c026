"""Acceptance (see test_acceptance): what read-write mounts commit, and what upstream wished its tests to assert."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pachmount.pfs.model import RepoRef
from tests.integration.box import Box
from tests.integration.rest_client import SERVED, Rest
from tests.integration.test_acceptance import FILES, shown
from tests.integration.test_committing import commits, server_tree

BOX_ENV = SERVED


@pytest.fixture
def empty(box: Box) -> str:
    """A repo without commits."""
    name = box.repo("accept")
    box.cluster().create_repo(RepoRef("default", name))
    return name


@pytest.fixture
def repo(box: Box) -> str:
    name = box.repo("accept")
    box.put(name, FILES)
    return name


# --- 8.1


def test_unmounting_makes_a_commit(box: Box, rest: Rest, empty: str) -> None:
    rest.mount(empty, empty, mode="rw")
    assert commits(box, empty) == []
    box.path(empty, "file1").write_bytes(b"hello")
    answer = rest.unmount(empty)
    assert (answer.status_code, answer.json()["mounted"]) == (200, [])
    assert len(commits(box, empty)) == 1
    assert server_tree(box, empty) == {"/file1": b"hello"}
    assert os.listdir(box.mount_dir) == []


def test_unmounting_without_a_change_makes_none(box: Box, rest: Rest, empty: str) -> None:
    rest.mount(empty, empty, mode="rw")
    assert rest.unmount(empty).status_code == 200
    assert commits(box, empty) == []  # the original makes one at every end of a read-write mount


def test_committing_twice_then_unmounting(box: Box, rest: Rest, empty: str) -> None:
    rest.mount(empty, empty, mode="rw")
    for number in (1, 2):
        box.path(empty, f"file{number}").write_bytes(b"%d" % number)
        answer = rest.put("/_commit", {"mount": empty})
        assert answer.status_code == 200, answer.text
        (entry,) = answer.json()["mounted"]
        assert (entry["state"], len(commits(box, empty))) == ("mounted", number)
        # The original counts itself one behind after its own commit; ours stands on it.
        assert (entry["commit"], entry["how_many_commits_behind"]) == (commits(box, empty)[0], 0)
    rest.unmount(empty)
    assert len(commits(box, empty)) == 2
    assert server_tree(box, empty) == {"/file1": b"1", "/file2": b"2"}


def test_committing_then_unmounting_with_more(box: Box, rest: Rest, empty: str) -> None:
    rest.mount(empty, empty, mode="rw")
    box.path(empty, "file1").write_bytes(b"1")
    rest.put("/_commit", {"mount": empty})
    box.path(empty, "file2").write_bytes(b"2")
    assert rest.unmount(empty).status_code == 200
    assert len(commits(box, empty)) == 2
    assert server_tree(box, empty) == {"/file1": b"1", "/file2": b"2"}


# --- wished for by upstream


def test_read_only_is_read_only(box: Box, rest: Rest, repo: str) -> None:
    rest.mount("m", repo)
    file, directory = box.path("m", "dir", "file1"), box.path("m", "dir")
    attempts = {
        "create": lambda: (directory / "new").write_bytes(b""),
        "write": lambda: file.write_bytes(b"x"),
        "append": lambda: os.close(os.open(file, os.O_WRONLY | os.O_APPEND)),
        "truncate": lambda: os.truncate(file, 0),
        "delete": file.unlink,
        "rename": lambda: file.rename(directory / "other"),
        "mkdir": lambda: (directory / "sub").mkdir(),
        "link": lambda: os.link(file, directory / "link"),
        "symlink": lambda: (directory / "link").symlink_to("file1"),
        "chmod": lambda: file.chmod(0o777),
        "utime": lambda: os.utime(file),
    }
    for what, attempt in attempts.items():
        with pytest.raises(OSError, match="Read-only") as caught:
            attempt()
        assert caught.value.errno == errno.EROFS, what
    assert shown(box.path("m")) == {"dir/file1": b"foo", "dir/file2": b"foo"}


def test_read_write_is_read_write(box: Box, rest: Rest, repo: str) -> None:
    rest.mount("m", repo, mode="rw")
    top = box.path("m")
    (top / "dir" / "file1").write_bytes(b"other")
    (top / "dir" / "file2").unlink()
    (top / "new").mkdir()
    (top / "new" / "file").write_bytes(b"new")
    expected = {"dir/file1": b"other", "new/file": b"new"}
    assert shown(top) == expected
    assert rest.put("/_commit", {"mount": "m"}).status_code == 200
    assert (shown(top), server_tree(box, repo)) == (expected, {f"/{path}": data for path, data in expected.items()})


def test_after_unmounting_the_files_are_gone(box: Box, rest: Rest, repo: str) -> None:
    rest.mount("m", repo)
    file = box.path("m", "dir", "file1")
    assert file.read_bytes() == b"foo"
    rest.unmount("m")
    with pytest.raises(FileNotFoundError):
        file.read_bytes()
    assert box.out("ls -A $1", box.mount_dir) == ""


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_mounting_again_brings_the_files_back(box: Box, rest: Rest, repo: str, mode: str) -> None:
    rest.mount("m", repo, mode=mode)
    if mode == "rw":
        box.path("m", "dir", "file1").write_bytes(b"mine")
    before = shown(box.path("m"))
    rest.unmount("m")
    assert not box.path("m").exists()
    rest.mount("m", repo, mode=mode)
    assert shown(box.path("m")) == before


def test_two_versions_do_not_mix(box: Box, rest: Rest) -> None:
    repo = box.repo("accept")
    first = box.put(repo, {"/f": b"a" * 100_000, "/g": b"same"})
    second = box.put(repo, {"/f": b"b" * 100_000})
    for round_ in range(2):
        rest.mount("old", repo, commit=first)
        rest.mount("new", repo, commit=second)
        for name, letter in (("new", b"b"), ("old", b"a"), ("new", b"b")):
            assert shown(box.path(name)) == {"f": letter * 100_000, "g": b"same"}, round_
        rest.put("/_unmount_all")


def test_the_listing_shows_the_status(box: Box, rest: Rest) -> None:
    repo = box.repo("accept")
    first = box.put(repo, {"/f": b"1"})
    rest.mount("m", repo)
    entry = rest.mounted()["m"]
    assert (entry["state"], entry["status"]) == ("mounted", f"up to date on latest commit {first[:8]}")
    box.put(repo, {"/f": b"2"})
    last = box.put(repo, {"/f": b"3"})
    entry = rest.mounted()["m"]
    expected = f"2 commits behind latest; current = {first[:8]} (0'th), latest = {last[:8]} (2'th)"
    assert (entry["status"], entry["how_many_commits_behind"]) == (expected, 2)
    assert (entry["actual_mounted_commit"], entry["latest_commit"]) == (first, last)
    rest.unmount("m")
    assert rest.mount("m", repo)["status"] == f"up to date on latest commit {last[:8]}"


def test_a_deleted_repo_shows_as_missing(box: Box, rest: Rest, repo: str) -> None:
    rest.mount("reading", repo)
    rest.mount("writing", repo, mode="rw")
    box.path("writing", "mine").write_bytes(b"mine")
    box.cluster().delete_repo(RepoRef("default", repo), force=True)
    answer = rest.get("/mounts")
    assert answer.status_code == 200
    assert repo not in [entry["repo"] for entry in answer.json()["unmounted"]]
    # Read-only mounts go with their repo; a writable one stays, for the sake of what is staged in it.
    found = {entry["name"]: entry["status"] for entry in answer.json()["mounted"]}
    assert list(found) == ["writing"]
    assert f"of default/{repo} does not exist any more" in found["writing"]
    assert f"the repo default/{repo} was deleted" in found["writing"]
    assert box.path("writing", "mine").read_bytes() == b"mine"
    refused = rest.unmount("writing")
    assert refused.status_code == 500
    assert list(rest.mounted()) == ["writing"]


def test_cp_works(box: Box, rest: Rest, repo: str, tmp_path: Path) -> None:
    rest.mount("from", repo)
    box.out("cp -a $1 $2", box.path("from"), tmp_path / "copy")
    assert shown(tmp_path / "copy") == {"dir/file1": b"foo", "dir/file2": b"foo"}
    rest.mount("to", repo, branch="copied", mode="rw")
    box.out("cp -r $1/dir $2/dir", box.path("from"), box.path("to"))
    box.out("cp $1 $2", box.path("to", "dir", "file1"), box.path("to", "again"))
    rest.unmount("to")
    assert server_tree(box, repo, "copied") == {"/dir/file1": b"foo", "/dir/file2": b"foo", "/again": b"foo"}
