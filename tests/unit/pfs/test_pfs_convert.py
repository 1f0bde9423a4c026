"""Decoding: content without its header, listing entries, commits of servers old and new."""

from __future__ import annotations

import re

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import given
from hypothesis import strategies as st

from pachmount.pfs import convert
from pachmount.pfs.model import CommitRef, CommitState, FileEntry, RepoRef
from pachmount.pfs.proto import pfs_pb2

REPO = RepoRef("p", "r")


class TestContent:
    @pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 16383, 16384, 2097151, 2097152])
    def test_sizes(self, size: int) -> None:
        content = bytes(range(256)) * (size // 256 + 1)
        encoded = BytesValue(value=content[:size]).SerializeToString()
        view = convert.decode_content(encoded)
        assert bytes(view) == content[:size]
        assert not size or view.obj is encoded, "the content must not be copied"

    @pytest.mark.parametrize(
        ("encoded", "value"),
        [
            (b"", b""),
            (b"\x0a\x00", b""),
            (b"\x0a\x03abc\x10\x01", b"abc"),  # an unknown field behind
            (b"\x10\x01\x0a\x03abc", b"abc"),  # ... before
            (b"\x0a\x01x\x0a\x03abc", b"abc"),  # given twice: the last one counts
            (b"\x0a\x83\x00abc", b"abc"),  # a length written longer than needed
        ],
    )
    def test_other_valid_forms(self, encoded: bytes, value: bytes) -> None:
        assert bytes(convert.decode_content(encoded)) == value
        assert BytesValue.FromString(encoded).value == value

    @pytest.mark.parametrize("encoded", [b"\x0a", b"\x0a\x05abc", b"\x0a\xff", b"\x0a" + b"\xff" * 12])
    def test_damaged(self, encoded: bytes) -> None:
        with pytest.raises(DecodeError):
            convert.decode_content(encoded)

    @given(st.binary(max_size=40))
    def test_agrees_with_protobuf(self, encoded: bytes) -> None:
        try:
            expected = BytesValue.FromString(encoded).value
        except DecodeError:
            with pytest.raises(DecodeError):
                convert.decode_content(encoded)
        else:
            assert bytes(convert.decode_content(encoded)) == expected


class TestEntries:
    def test_file_and_directory(self) -> None:
        file = pfs_pb2.File(commit=convert.commit_message(CommitRef(REPO, "c")), path="/a/b", datum="d")
        info = pfs_pb2.FileInfo(file=file, file_type=pfs_pb2.FileType.FILE, size_bytes=2**40, hash=b"h" * 32)
        assert convert.decode_entry(info.SerializeToString()) == FileEntry("/a/b", False, 2**40, b"h" * 32)
        info.file.path, info.file_type = "/a/", pfs_pb2.FileType.DIR
        assert convert.decode_entry(info.SerializeToString()) == FileEntry("/a", True, 2**40, b"h" * 32)

    def test_root_has_no_path(self) -> None:
        info = pfs_pb2.FileInfo(file=pfs_pb2.File(path="/"), file_type=pfs_pb2.FileType.DIR)
        assert convert.decode_entry(info.SerializeToString()).path == ""

    def test_empty_message_and_unknown_fields(self) -> None:
        assert convert.decode_entry(b"") == FileEntry("", False, 0, b"")
        info = pfs_pb2.FileInfo(file=pfs_pb2.File(path="/a"), file_type=pfs_pb2.FileType.FILE)
        encoded = info.SerializeToString() + b"\xfa\x01\x03new"
        assert convert.decode_entry(encoded) == FileEntry("/a", False, 0, b"")


@pytest.mark.parametrize(
    ("path", "pattern"),
    [("/a/b c", "/a/b c"), ("", "/"), (r"/a\b", r"/a[\\]b"), ("/*?", r"/[\*][\?]"), (r"\\", r"[\\][\\]")],
)
def test_literal_pattern(path: str, pattern: str) -> None:
    assert convert.literal_pattern(path) == pattern
    assert re.fullmatch(convert.literal_pattern(path), path or "/")


class TestHandles:
    def test_commit(self) -> None:
        message = convert.commit_message(CommitRef(REPO, "c", "master"))
        assert (message.repo.type, message.repo.project.name, message.id) == ("user", "p", "c")
        assert not message.HasField("branch"), "a name as id together with a branch is refused"
        assert convert.commit_message(CommitRef(REPO, "", "master")).id == "master"

    def test_commit_to_write(self) -> None:
        message = convert.commit_message(CommitRef(REPO, "c", "dev"), with_branch=True)
        assert (message.branch.name, message.branch.repo, message.id) == ("dev", message.repo, "c")

    @pytest.mark.parametrize("with_branch", [True, False])
    @pytest.mark.parametrize("with_repo", [True, False])
    def test_commit_from_old_and_new_servers(self, with_branch: bool, with_repo: bool) -> None:
        message = pfs_pb2.Commit(id="c")
        repo = convert.repo_message(REPO)
        if with_branch:
            message.branch.CopyFrom(pfs_pb2.Branch(repo=repo, name="dev"))
        if with_repo:
            message.repo.CopyFrom(repo)
        if with_branch or with_repo:
            assert convert.commit_ref(message) == CommitRef(REPO, "c", "dev" if with_branch else "")


def test_commit_states() -> None:
    info = pfs_pb2.CommitInfo(commit=convert.commit_message(CommitRef(REPO, "c")), size_bytes_upper_bound=5)
    assert (convert.commit_info(info).state, convert.commit_info(info).size_bytes) == (CommitState.OPEN, 5)
    info.finishing.seconds = 10
    assert convert.commit_info(info).state is CommitState.FINISHING
    info.finished.FromMilliseconds(10500)
    info.details.size_bytes = 7
    assert convert.commit_info(info).state is CommitState.FINISHED
    assert (convert.commit_info(info).finished, convert.commit_info(info).size_bytes) == (10.5, 7)
