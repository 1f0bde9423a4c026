"""Rows of the store as messages of the API."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from google.protobuf.timestamp_pb2 import Timestamp

from pachmount.localpfs import model, paths
from pachmount.localpfs.handles import FileView, repo_message
from pachmount.localpfs.model import Branch, Repo, Revision
from pachmount.localpfs.pages import Entry
from pachmount.pfs.proto import pfs_pb2

_SECOND = 1_000_000_000


def timestamp(nanoseconds: int) -> Timestamp:
    return Timestamp(seconds=nanoseconds // _SECOND, nanos=nanoseconds % _SECOND)


def commit_handle(revision: Revision) -> pfs_pb2.Commit:
    """A commit as 2.11 names it in answers: without its branch."""
    return pfs_pb2.Commit(id=revision.id, repo=repo_message(revision.repo))


def branch_handle(branch: Branch) -> pfs_pb2.Branch:
    return pfs_pb2.Branch(name=branch.name, repo=repo_message(branch.repo))


def branch_info(db: sqlite3.Connection, branch: Branch) -> pfs_pb2.BranchInfo:
    return pfs_pb2.BranchInfo(
        branch=branch_handle(branch),
        head=commit_handle(model.revision(db, branch.head)),
        created_at=timestamp(branch.created),
        updated_at=timestamp(branch.updated),
    )


def repo_info(db: sqlite3.Connection, repo: Repo, auth: pfs_pb2.AuthInfo | None, *, details: bool) -> pfs_pb2.RepoInfo:
    """With `details` as InspectRepo answers, without them as ListRepo does."""
    info = pfs_pb2.RepoInfo(
        repo=repo_message(repo.name), created=timestamp(repo.created), description=repo.description, auth_info=auth
    )
    size = 0
    for branch in model.branches(db, repo.name):
        info.branches.append(branch_handle(branch))
        if branch.name == "master":
            size = model.revision(db, branch.head).size
    if details:
        info.details.size_bytes = size
    else:
        info.size_bytes_upper_bound = size
    return info


def commit_info(db: sqlite3.Connection, revision: Revision, *, listed: bool = False) -> pfs_pb2.CommitInfo:
    """`listed`: as ListCommit answers, with the upper bound of the size."""
    info = pfs_pb2.CommitInfo(
        commit=commit_handle(revision),
        origin=pfs_pb2.CommitOrigin(kind=pfs_pb2.OriginKind.Name(revision.origin)),
        description=revision.description,
        started=timestamp(revision.started),
        error=revision.error,
        details=pfs_pb2.CommitInfo.Details(size_bytes=revision.size),
        created_at=timestamp(revision.started),
        updated_at=timestamp(revision.updated),
    )
    if revision.parent is not None:
        info.parent_commit.CopyFrom(commit_handle(model.revision(db, revision.parent)))
    for child in model.children(db, revision.key):
        handle = commit_handle(child)
        if child.branch:
            handle.branch.CopyFrom(pfs_pb2.Branch(name=child.branch, repo=repo_message(child.repo)))
        info.child_commits.append(handle)
    if revision.finished is not None:
        info.finishing.CopyFrom(timestamp(revision.finished))
        info.finished.CopyFrom(timestamp(revision.finished))
    if listed:
        info.size_bytes_upper_bound = revision.size
    return info


def file_info_maker(view: FileView) -> Callable[[bytes, Entry], bytes]:
    """A function from key and entry to a serialised FileInfo.

    A listing is one message per file, and putting the bytes together here takes a third of the time that building
    a message object takes.
    """
    commit = pfs_pb2.File(commit=view.commit).SerializeToString()
    committed = b""
    if view.committed is not None:
        committed = pfs_pb2.FileInfo(committed=timestamp(view.committed)).SerializeToString()

    def make(key: bytes, entry: Entry) -> bytes:
        if entry.is_dir:
            file = commit + b"\x12" + _varint(len(key)) + key
            kind = b"\x10\x02"
        else:
            path, datum = paths.split_key(key)
            path = path or paths.ROOT
            tag = datum.encode()
            file = commit + b"\x12" + _varint(len(path)) + path + b"\x1a" + _varint(len(tag)) + tag
            kind = b"\x10\x01"
        size = b"\x20" + _varint(entry.size) if entry.size else b""
        return b"".join((b"\n", _varint(len(file)), file, kind, committed, size, b"\x2a\x20", entry.hash))

    return make


def bytes_value(data: bytes) -> bytes:
    """A serialised BytesValue that holds `data`."""
    return b"".join((b"\n", _varint(len(data)), data))


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    made = bytearray()
    while number >= 0x80:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)
