"""What follows a commit that ended with an error: the files of the nearest commit without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pachmount.pfs.proto import pfs_pb2
from tests.localpfs.servers import running

REPO = pfs_pb2.Repo(name="r", type="user", project=pfs_pb2.Project(name="default"))
MASTER = pfs_pb2.Branch(name="master", repo=REPO)


@pytest.fixture
def pfs(tmp_path: Path) -> Iterator[Any]:
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=REPO))
        yield server.pfs


def _commit(pfs: Any, *paths: str, branch: pfs_pb2.Branch = MASTER, error: str = "") -> pfs_pb2.CommitInfo:
    made = pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=branch))
    requests = [pfs_pb2.ModifyFileRequest(set_commit=made)]
    for path in paths:
        add = pfs_pb2.AddFile(path=path)
        add.raw.value = path.encode()
        requests.append(pfs_pb2.ModifyFileRequest(add_file=add))
    pfs.ModifyFile(iter(requests))
    pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=made, error=error))
    info: pfs_pb2.CommitInfo = pfs.InspectCommit(pfs_pb2.InspectCommitRequest(commit=made, wait=pfs_pb2.FINISHED))
    return info


def _files(pfs: Any, commit: pfs_pb2.Commit) -> list[str]:
    file = pfs_pb2.File(commit=commit, path="/")
    found = pfs.WalkFile(pfs_pb2.WalkFileRequest(file=file))
    return [info.file.path for info in found if info.file_type == pfs_pb2.FILE]


def test_commits_after_errors_begin_with_the_nearest_good_commit(pfs: Any) -> None:
    _commit(pfs, "/a", "/d/x")
    bad = _commit(pfs, "/d")
    assert bad.error == "file / directory path collision (/d/x)"
    with pytest.raises(grpc.RpcError, match="path collision"):
        _files(pfs, bad.commit)
    after = _commit(pfs, "/new")
    assert not after.error
    assert after.parent_commit.id == bad.commit.id
    assert _files(pfs, after.commit) == ["/a", "/d/x", "/new"]
    _commit(pfs, "/d", "/q")
    _commit(pfs, "/z", error="given up")
    assert _files(pfs, _commit(pfs, "/e").commit) == ["/a", "/d/x", "/e", "/new"]


def test_an_error_in_the_first_commit(pfs: Any) -> None:
    assert _commit(pfs, "/d", "/d/x").error
    assert _files(pfs, _commit(pfs, "/new").commit) == ["/new"]


def test_a_branch_made_at_a_commit_with_an_error(pfs: Any) -> None:
    _commit(pfs, "/a")
    bad = _commit(pfs, "/a/b")
    side = pfs_pb2.Branch(name="side", repo=REPO)
    pfs.CreateBranch(pfs_pb2.CreateBranchRequest(branch=side, head=bad.commit))
    assert _files(pfs, _commit(pfs, "/s", branch=side).commit) == ["/a", "/s"]


def test_an_open_commit_is_cleared_to_the_nearest_good_commit(pfs: Any) -> None:
    _commit(pfs, "/a")
    _commit(pfs, "/a/b")
    made = pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=MASTER))
    add = pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path="/b"))
    pfs.ModifyFile(iter([pfs_pb2.ModifyFileRequest(set_commit=made), add]))
    pfs.ClearCommit(pfs_pb2.ClearCommitRequest(commit=made))
    assert _files(pfs, made) == ["/a"]


def test_no_commit_is_squashed_below_an_open_one(pfs: Any) -> None:
    first = _commit(pfs, "/a")
    pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=MASTER))
    with pytest.raises(grpc.RpcError, match="cannot squash until child commit"):
        pfs.SquashCommit(pfs_pb2.SquashCommitRequest(commit=first.commit))


def test_a_collision_is_noticed_between_neighbours_only(pfs: Any) -> None:
    """As with pachd, which compares each path with the one before it."""
    assert _commit(pfs, "/d", "/d/x").error
    assert not _commit(pfs, "/d", "/d-1", "/d/x").error
