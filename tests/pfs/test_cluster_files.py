"""Listing, reading and changing files: every call against a real server."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable

import pytest

from pachmount.errors import InvalidPathError, NotFoundError, PachmountError
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, FileEntry, RepoRef

Put = Callable[..., CommitRef]

TREE = {"/dir/a": b"aaa", "/dir/b/deep": b"deep", "/dir.txt": b"text", "/empty": b"", "/with space": b"space"}


def content(client: PfsClient, commit: CommitRef, path: str, offset: int = 0) -> bytes:
    return b"".join(client.open(commit, path, offset))


def content_hash(data: bytes) -> bytes:
    """The server's hash of a small file."""

    def once(part: bytes) -> bytes:
        return hashlib.blake2b(part, digest_size=32).digest()

    return once(once(data) if data else b"")


@pytest.fixture
def commit(repo: RepoRef, put: Put) -> CommitRef:
    return put(repo, TREE)


class TestListing:
    def test_walk(self, client: PfsClient, commit: CommitRef) -> None:
        entries = list(client.walk(commit))
        paths = ["/dir.txt", "/dir", "/dir/a", "/dir/b", "/dir/b/deep", "/empty", "/with space"]
        assert [entry.path for entry in entries] == paths
        assert [entry.path for entry in entries if entry.is_dir] == ["/dir", "/dir/b"]
        files = {entry.path: (entry.size, entry.hash) for entry in entries if not entry.is_dir}
        assert files == {path: (len(data), content_hash(data)) for path, data in TREE.items()}

    def test_walk_below(self, client: PfsClient, commit: CommitRef) -> None:
        assert [entry.path for entry in client.walk(commit, "/dir/b")] == ["/dir/b", "/dir/b/deep"]
        assert [entry.path for entry in client.walk(commit, "/dir/a")] == ["/dir/a"]
        assert list(client.walk(commit, "/none")) == []

    def test_list(self, client: PfsClient, commit: CommitRef) -> None:
        assert [entry.path for entry in client.list(commit)] == ["/dir.txt", "/dir", "/empty", "/with space"]
        assert [entry.path for entry in client.list(commit, "/dir")] == ["/dir/a", "/dir/b"]
        assert list(client.list(commit, "/none")) == []

    def test_of_an_empty_commit(self, client: PfsClient, repo: RepoRef) -> None:
        client.create_branch(repo, "master")
        head = client.inspect_branch(repo).head
        assert list(client.walk(head)) == list(client.list(head)) == []

    def test_of_a_commit_that_does_not_exist(self, client: PfsClient, repo: RepoRef) -> None:
        gone = CommitRef(repo, "22222222222242228222222222222222")
        for listing in (client.walk(gone), client.list(gone), client.walk(gone, "/x")):
            with pytest.raises(NotFoundError):
                list(listing)

    @pytest.mark.parametrize("number", [1, 2, 3, 100])
    def test_pages(self, client: PfsClient, commit: CommitRef, number: int) -> None:
        found: list[FileEntry] = []
        while page := client.list_page(commit, "", found[-1] if found else None, number):
            assert len(page) <= number
            found += page
        assert found == list(client.list(commit))

    def test_inspect(self, client: PfsClient, commit: CommitRef) -> None:
        assert client.inspect_file(commit, "/dir/a") == FileEntry("/dir/a", False, 3, content_hash(b"aaa"))
        directory = client.inspect_file(commit, "/dir")
        assert (directory.path, directory.is_dir, directory.size) == ("/dir", True, 7)
        assert client.inspect_file(commit, "").is_dir
        with pytest.raises(NotFoundError, match="file /none not found in repo"):
            client.inspect_file(commit, "/none")


class TestReading:
    def test_contents(self, client: PfsClient, commit: CommitRef) -> None:
        for path, data in TREE.items():
            assert content(client, commit, path) == data

    def test_offsets(self, client: PfsClient, commit: CommitRef) -> None:
        assert content(client, commit, "/dir.txt", 2) == b"xt"
        assert content(client, commit, "/dir.txt", 4) == content(client, commit, "/dir.txt", 99) == b""
        assert content(client, commit, "/dir.txt", -3) == b"text"

    def test_a_big_file(self, client: PfsClient, repo: RepoRef, put: Put) -> None:
        data = os.urandom(30 << 20)
        commit = put(repo, {"/big": data})
        assert content(client, commit, "/big") == data
        assert content(client, commit, "/big", 25 << 20) == data[25 << 20 :]
        stream = client.open(commit, "/big")
        assert next(stream)
        stream.cancel()
        assert list(stream) == []

    def test_odd_names(self, client: PfsClient, repo: RepoRef, put: Put) -> None:
        files = {
            path: path.encode() for path in (r"/a\b", r"/\\", r"/d\x/-\-", "/a%20b", "/'\"$;&|<>~#=,", "/-", "/a\\")
        }
        commit = put(repo, files)
        assert {path: content(client, commit, path) for path in files} == files
        assert {entry.path for entry in client.walk(commit) if not entry.is_dir} == set(files)
        assert client.inspect_file(commit, r"/a\b").size == 4

    def test_what_is_no_file(self, client: PfsClient, commit: CommitRef) -> None:
        with pytest.raises(NotFoundError, match="not found in repo"):
            content(client, commit, "/none")
        with pytest.raises(NotFoundError):
            content(client, commit, "/dir*")
        with pytest.raises(PachmountError):
            content(client, commit, "/dir")

    def test_tar(self, client: PfsClient, commit: CommitRef) -> None:
        def members(path: str, *, glob: bool = False) -> dict[str, bytes]:
            archive = b"".join(client.open_tar(commit, path, glob=glob))
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                return {
                    "/" + member.name.strip("/"): tar.extractfile(member).read()  # type: ignore[union-attr]
                    for member in tar
                    if member.isfile()
                }

        assert members("") == TREE
        assert members("/dir") == {"/dir/a": b"aaa", "/dir/b/deep": b"deep"}
        assert members("/dir.*", glob=True) == {"/dir.txt": b"text"}
        with pytest.raises(NotFoundError):
            members("/none")


class TestWriting:
    def test_overwrite_append_delete(self, client: PfsClient, repo: RepoRef, put: Put) -> None:
        put(repo, TREE)
        with client.modify_file(CommitRef(repo, "", "master")) as change:
            change.delete_file("/dir/")
            change.delete_file("/empty")
            change.add_file("/dir.txt", b" more")
            change.delete_file("/with space")
            change.add_file("/with space", b"new")
            change.add_file("/nothing")
        commit = client.inspect_branch(repo).head
        client.inspect_commit(commit, wait="finished", timeout=60)
        files = {entry.path: content(client, commit, entry.path) for entry in client.walk(commit)}
        assert files == {"/dir.txt": b"text more", "/nothing": b"", "/with space": b"new"}

    def test_nothing_is_applied_after_an_exception(self, client: PfsClient, repo: RepoRef, put: Put) -> None:
        head = put(repo, TREE)

        def interrupted() -> None:
            with client.modify_file(CommitRef(repo, "", "master")) as change:
                change.add_file("/late", bytes(6 << 20))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert client.inspect_branch(repo).head.id == head.id

    def test_a_bad_name_fails_the_whole_stream(self, client: PfsClient, repo: RepoRef, put: Put) -> None:
        head = put(repo, TREE)
        with pytest.raises(InvalidPathError), client.modify_file(CommitRef(repo, "", "master")) as change:
            change.add_file("/*", b"x")
        assert client.inspect_branch(repo).head.id == head.id

    def test_to_a_repo_that_does_not_exist(self, client: PfsClient) -> None:
        nowhere = CommitRef(RepoRef("default", "none-" + os.urandom(6).hex()), "", "master")
        with pytest.raises(NotFoundError), client.modify_file(nowhere) as change:
            change.add_file("/a", b"x")
