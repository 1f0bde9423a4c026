"""Acceptance (see test_acceptance): what the original's tests assert of the mounted files (`pachctl mount`).

An unfinished output commit is the same to us as any other open commit, and is tested as one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pytest

from pachmount.pfs.model import CommitRef, RepoRef
from tests.integration.box import Box
from tests.integration.test_acceptance import shown
from tests.integration.test_committing import server_tree

MIB = 1 << 20
GIB = 1 << 30
long = [pytest.mark.long, pytest.mark.timeout(1200)]


def made(box: Box, files: dict[str, bytes], branch: str = "master", repo: str = "") -> str:
    """A repo with these files on a branch."""
    name = repo or box.repo("accept")
    box.put(name, files, branch)
    return name


# --- reading


def test_all_repos_of_a_project(box: Box) -> None:
    contents = [{"/dir/sub/file": b"%d" % number, "/file": b"top"} for number in range(3)]
    names = [made(box, content) for content in contents]
    for name in names:
        box.mount(name)
    assert sorted(os.listdir(box.mount_dir)) == sorted(names)
    assert [shown(box.path(name)) for name in names] == [
        {"dir/sub/file": b"%d" % number, "file": b"top"} for number in range(3)
    ]
    assert sorted(os.listdir(box.path(names[0]))) == ["dir", "file"]


def pieces(size: int) -> Iterator[bytes]:
    """`size` bytes that do not compress and differ from MiB to MiB."""
    block = os.urandom(MIB - 8)
    for number in range(-(-size // MIB)):
        yield (number.to_bytes(8, "big") + block)[: size - number * MIB]


def put_large(box: Box, size: int) -> tuple[str, str]:
    """A repo with the file `f`, and its SHA-256."""
    repo, digest = box.repo("large"), hashlib.sha256()

    def content() -> Iterator[bytes]:
        for piece in pieces(size):
            digest.update(piece)
            yield piece

    ref = RepoRef("default", repo)
    box.cluster().create_repo(ref)
    with box.cluster().modify_file(CommitRef(ref, "", "master")) as change:
        assert change.add_file("/f", content()) == size
    return repo, digest.hexdigest()


@pytest.mark.parametrize(
    "size",
    [
        *(2 * MIB - 1, 2 * MIB, 2 * MIB + 1),  # a message of the upload
        *(16 * MIB, 16 * MIB + 17),
        pytest.param(512 * MIB, marks=long, id="512 MiB"),
        pytest.param(GIB + 17, marks=long, id="1 GiB + 17"),
    ],
)
def test_a_file_is_read_at_full_length(box: Box, size: int) -> None:
    repo, digest = put_large(box, size)
    box.mount(repo, "large")
    file = box.path("large", "f")
    assert file.stat().st_size == size
    assert box.out("sha256sum < $1", file, timeout=600).split()[0] == digest
    assert int(box.out("wc -c < $1", file, timeout=600)) == size


@pytest.mark.parametrize("size", [8 * MIB, pytest.param(GIB, marks=long, id="1 GiB")])
def test_every_fresh_mount_reads_it(box: Box, size: int) -> None:
    repo, digest = put_large(box, size)
    for _ in range(3):
        box.mount(repo, "large")
        assert box.out("sha256sum < $1", box.path("large", "f"), timeout=600).split()[0] == digest
        box.unmount("large")


def test_reading_from_the_middle(box: Box) -> None:
    data = b"".join(pieces(3 * MIB))
    repo = made(box, {"/f": data})
    box.mount(repo)
    for offset in range(0, 4 * MIB, MIB):
        with open(box.path(repo, "f"), "rb") as file:
            file.seek(offset)
            assert file.read() == data[offset:]


def test_a_branch_without_commits_is_empty(box: Box) -> None:
    repo = made(box, {"/f": b"x"})
    box.cluster().create_branch(RepoRef("default", repo), "headless")
    box.mount(f"{repo}@headless", "m")
    assert os.listdir(box.path("m")) == []


def test_an_open_commit_is_empty(box: Box) -> None:
    repo = box.repo("accept")
    ref, cluster = RepoRef("default", repo), box.cluster()
    cluster.create_repo(ref)
    commit = cluster.start_commit(ref, "master")
    with cluster.modify_file(commit) as change:
        change.add_file("/early", b"early")
    box.mount(repo, "m")
    assert box.out("ls -A $1", box.path("m")) == ""
    cluster.finish_commit(commit)
    cluster.inspect_commit(commit, wait="finished", timeout=60)
    box.refresh("m")
    assert shown(box.path("m")) == {"early": b"early"}


def test_a_commit_of_each_branch(box: Box) -> None:
    repo = made(box, {"/foo": b"foo"})
    ref, cluster = RepoRef("default", repo), box.cluster()
    cluster.create_branch(ref, "dev", cluster.inspect_branch(ref, "master").head)
    box.put(repo, {"/bar": b"bar"}, "dev")
    for branch, expected in (("master", {"foo": b"foo"}), ("dev", {"foo": b"foo", "bar": b"bar"})):
        head = cluster.inspect_branch(ref, branch).head.id
        for source in (f"{repo}@{branch}", f"{repo}@{head}"):
            box.mount(source, "m")
            assert shown(box.path("m")) == expected, source
            box.unmount("m")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/foo", {"foo": b"foo"}),
        ("/bar", {"bar": b"bar"}),
        ("/dir/foo", {"dir/foo": b"dir foo"}),
        ("/dir", {"dir/foo": b"dir foo", "dir/bar": b"dir bar"}),
    ],
)
def test_one_file_or_directory(box: Box, path: str, expected: dict[str, bytes]) -> None:
    repo = made(box, {"/foo": b"foo", "/bar": b"bar", "/dir/foo": b"dir foo", "/dir/bar": b"dir bar"})
    box.mount(f"{repo}@master:{path}", "m")
    assert shown(box.path("m")) == expected
    assert os.listdir(box.path("m")) == [path.split("/")[1]]


# --- writing


def test_what_is_written_arrives(box: Box) -> None:
    first, second = made(box, {"/old": b"old"}), made(box, {})
    for name in (first, second):
        box.mount(name, mode="rw")
    top = box.path(first)
    (top / "dir").mkdir()
    (top / "dir" / "foo").write_bytes(b"foo\n")
    box.ok("commit", first)
    assert server_tree(box, first) == {"/old": b"old", "/dir/foo": b"foo\n"}
    descriptor = os.open(top / "dir" / "foo", os.O_WRONLY)
    assert os.lseek(descriptor, 0, os.SEEK_END) == 4
    os.write(descriptor, b"foo\n")
    os.close(descriptor)
    (top / "old").unlink()
    (top / "old").write_bytes(b"new")
    os.link(top / "old", top / "hard")
    (top / "soft").symlink_to("old")
    (box.path(second) / "other").write_bytes(b"other")
    box.unmount(first, second)
    expected = {"/dir/foo": b"foo\nfoo\n", "/old": b"new", "/hard": b"new", "/soft": b"new"}
    assert (server_tree(box, first), server_tree(box, second)) == (expected, {"/other": b"other"})
    box.mount(first, mode="rw")
    (top / "hard").unlink()
    box.out("rm -r $1", top / "dir")
    box.unmount(first)
    assert server_tree(box, first) == {"/old": b"new", "/soft": b"new"}


def test_one_repo_and_its_mode_and_branch(box: Box) -> None:
    repo = made(box, {"/foo": b"foo"})
    made(box, {"/invisible": b"x"})
    made(box, {"/of-dev": b"dev"}, "dev", repo)
    box.mount(repo)
    assert os.listdir(box.mount_dir) == [repo]
    with pytest.raises(OSError, match="Read-only"):
        (box.path(repo) / "bar").write_bytes(b"bar")
    box.unmount(repo)
    box.mount(f"{repo}@dev", repo, mode="rw")
    assert shown(box.path(repo)) == {"of-dev": b"dev"}
    (box.path(repo) / "bar").write_bytes(b"bar")
    box.unmount(repo)
    assert server_tree(box, repo, "dev") == {"/of-dev": b"dev", "/bar": b"bar"}
    assert server_tree(box, repo) == {"/foo": b"foo"}
