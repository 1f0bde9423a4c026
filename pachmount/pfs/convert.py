"""Protobuf messages to the dataclasses of model.py, and back for requests."""

from __future__ import annotations

import re
from collections.abc import Iterable

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import BytesValue

from pachmount.errors import DataError
from pachmount.pfs.model import (
    BranchInfo,
    ClusterVersion,
    CommitInfo,
    CommitRef,
    FileEntry,
    ProjectInfo,
    RepoInfo,
    RepoRef,
)
from pachmount.pfs.proto import pfs_pb2 as pfs
from pachmount.pfs.proto import version_pb2

_BYTES_FIELD_1 = 0x0A  # protobuf tag: field 1, length-delimited
_GLOB_CHARACTERS = re.compile(r"[\\*?\[\]{}!()@+^]")
_DIR = pfs.FileType.DIR


def project_message(name: str) -> pfs.Project:
    return pfs.Project(name=name)


def repo_message(repo: RepoRef) -> pfs.Repo:
    return pfs.Repo(name=repo.name, type="user", project=pfs.Project(name=repo.project))


def branch_message(repo: RepoRef, name: str) -> pfs.Branch:
    return pfs.Branch(repo=repo_message(repo), name=name)


def commit_message(commit: CommitRef, *, with_branch: bool = False) -> pfs.Commit:
    """A commit handle. The branch goes along only for writing: a branch *and* a name as id together are refused."""
    repo = repo_message(commit.repo)
    if with_branch and commit.branch:
        return pfs.Commit(repo=repo, id=commit.id, branch=pfs.Branch(repo=repo, name=commit.branch))
    return pfs.Commit(repo=repo, id=commit.id or commit.branch)


def file_message(commit: CommitRef, path: str) -> pfs.File:
    return pfs.File(commit=commit_message(commit), path=path or "/")


def literal_pattern(path: str) -> str:
    """A glob that matches exactly `path`; GetFile takes globs.

    Only a backslash can occur in stored names among the glob characters, and escaping it alone does not work: the
    server ignores escapes in a pattern without any other glob character. A class of one character does work.
    """
    return _GLOB_CHARACTERS.sub(r"[\\\g<0>]", path or "/")


def decode_content(data: bytes) -> memoryview:
    """The value in an encoded BytesValue, as a view of `data`: pieces are up to 19 MiB, and copying them costs most."""
    if not data:
        return memoryview(b"")
    if data[0] == _BYTES_FIELD_1:
        length = shift = 0
        for position in range(1, min(len(data), 11)):
            byte = data[position]
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                if position + 1 + length == len(data):
                    return memoryview(data)[position + 1 :]
                break
            shift += 7
    return memoryview(BytesValue.FromString(data).value)  # valid, though not the one form that servers send


def decode_entry(data: bytes) -> FileEntry:
    """A FileEntry from an encoded FileInfo; runs for each file of a listing, so it does no more than it must."""
    info = _parse_file_info(data)
    path = info.file.path
    if info.file_type == _DIR:
        return FileEntry(path.rstrip("/"), True, info.size_bytes, info.hash)
    return FileEntry(path, False, info.size_bytes, info.hash)


def decode_entries(messages: Iterable[bytes]) -> list[FileEntry]:
    """The FileEntries of encoded FileInfos; DataError if one is damaged."""
    try:
        return [decode_entry(data) for data in messages]
    except DecodeError as error:
        raise DataError("the cluster sent a damaged listing", str(error)) from error


_parse_file_info = pfs.FileInfo.FromString


def file_entry(info: pfs.FileInfo) -> FileEntry:
    return FileEntry(info.file.path.rstrip("/"), info.file_type == _DIR, info.size_bytes, info.hash)


def file_pair(pair: pfs.DiffFileResponse) -> tuple[FileEntry | None, FileEntry | None]:
    """The new and the old entry; None where there is none."""
    return (
        file_entry(pair.new_file) if pair.HasField("new_file") else None,
        file_entry(pair.old_file) if pair.HasField("old_file") else None,
    )


def repo_ref(repo: pfs.Repo) -> RepoRef:
    return RepoRef(repo.project.name or "default", repo.name)


def commit_ref(commit: pfs.Commit) -> CommitRef:
    # Old servers may leave out Commit.repo beside a branch; new ones (2.11) leave out the branch.
    repo = commit.repo if commit.HasField("repo") else commit.branch.repo
    return CommitRef(repo_ref(repo), commit.id, commit.branch.name)


def project_info(info: pfs.ProjectInfo) -> ProjectInfo:
    auth = info.auth_info
    created = seconds(info.created_at) if info.HasField("created_at") else None
    return ProjectInfo(info.project.name, info.description, created, tuple(auth.permissions), tuple(auth.roles))


def repo_info(info: pfs.RepoInfo) -> RepoInfo:
    return RepoInfo(
        repo=repo_ref(info.repo),
        description=info.description,
        created=seconds(info.created) if info.HasField("created") else None,
        size_bytes=info.details.size_bytes if info.HasField("details") else info.size_bytes_upper_bound,
        branches=tuple(branch.name for branch in info.branches),
        permissions=tuple(info.auth_info.permissions) if info.HasField("auth_info") else None,
    )


def branch_info(info: pfs.BranchInfo) -> BranchInfo:
    repo = repo_ref(info.branch.repo)
    head = CommitRef(repo, info.head.id, info.branch.name)
    return BranchInfo(repo, info.branch.name, head, has_provenance=bool(info.direct_provenance or info.provenance))


def commit_info(info: pfs.CommitInfo) -> CommitInfo:
    return CommitInfo(
        commit=commit_ref(info.commit),
        parent=info.parent_commit.id,
        description=info.description,
        started=seconds(info.started) if info.HasField("started") else None,
        finishing=seconds(info.finishing) if info.HasField("finishing") else None,
        finished=seconds(info.finished) if info.HasField("finished") else None,
        error=info.error,
        size_bytes=info.details.size_bytes if info.HasField("details") else info.size_bytes_upper_bound,
    )


def version(message: version_pb2.Version) -> ClusterVersion:
    return ClusterVersion(message.major, message.minor, message.micro, message.additional)


def seconds(timestamp: Timestamp) -> float:
    """Seconds since the epoch."""
    return timestamp.seconds + timestamp.nanos / 1e9
