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


def _glob(pfs: Any, commit: pfs_pb2.Commit, pattern: str) -> list[str]:
    return [info.file.path for info in pfs.GlobFile(pfs_pb2.GlobFileRequest(commit=commit, pattern=pattern))]


def test_paths_that_a_request_does_not_ask_for_are_gone_through(pfs: Any) -> None:
    """As with pachd, which reads all paths with the fixed part of a pattern, and behind a directory on to a match."""
    commit = _commit(pfs, "/a/f", "/b", "/d", "/d/x", "/e").commit
    assert _glob(pfs, commit, "/a/*") == ["/a/f"]
    assert _glob(pfs, commit, "/e") == ["/e"]
    for pattern in ("/?", "/@(a|e)", "/*/f"):
        with pytest.raises(grpc.RpcError, match="path collision"):
            _glob(pfs, commit, pattern)
    page = pfs_pb2.ListFileRequest(file=pfs_pb2.File(commit=commit, path="/a"))
    assert [info.file.path for info in pfs.ListFile(page)] == ["/a/f"]
    page.paginationMarker.CopyFrom(pfs_pb2.File(commit=commit, path="/a/b"))
    with pytest.raises(grpc.RpcError, match="path collision"):
        list(pfs.ListFile(page))


def test_a_page_of_a_file_has_it_on_its_side_of_the_marker_only(pfs: Any) -> None:
    commit = _commit(pfs, "/a").commit
    marker = pfs_pb2.File(commit=commit, path="/a")
    request = pfs_pb2.WalkFileRequest(file=marker, paginationMarker=marker, number=1)
    assert not list(pfs.WalkFile(request))
    request.reverse = True
    with pytest.raises(grpc.RpcError, match="does not contain item"):
        list(pfs.WalkFile(request))


def test_different_paths_are_compared_by_name_and_hash(pfs: Any) -> None:
    commit = _commit(pfs, "/c/f", "/d").commit
    request = pfs_pb2.DiffFileRequest()
    request.new_file.CopyFrom(pfs_pb2.File(commit=commit, path="/c"))
    request.old_file.CopyFrom(pfs_pb2.File(commit=commit, path="/"))
    assert [one.old_file.file.path for one in pfs.DiffFile(request)] == ["/", "/d"]


def test_a_file_and_a_directory_of_one_name(pfs: Any) -> None:
    """Both are listed, as with pachd; the directory is what the name alone means."""
    commit = _commit(pfs, "/d", "/d-1", "/d/x").commit
    assert _glob(pfs, commit, "/d") == ["/d", "/d/"]
    file = pfs_pb2.File(commit=commit, path="/d")
    assert [info.file.path for info in pfs.ListFile(pfs_pb2.ListFileRequest(file=file))] == ["/d", "/d/x"]
    assert pfs.InspectFile(pfs_pb2.InspectFileRequest(file=file)).file_type == pfs_pb2.DIR
    with pytest.raises(grpc.RpcError, match="Use GetFileTAR"):
        list(pfs.GetFile(pfs_pb2.GetFileRequest(file=file)))


def test_a_commit_is_compared_with_its_parent_in_another_repo(pfs: Any) -> None:
    parent = _commit(pfs, "/a").commit
    other = pfs_pb2.Repo(name="other", type="user", project=pfs_pb2.Project(name="default"))
    pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=other))
    branch = pfs_pb2.Branch(name="master", repo=other)
    made = pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=branch, parent=parent))
    request = pfs_pb2.DiffFileRequest(new_file=pfs_pb2.File(commit=made, path="/"))
    assert not list(pfs.DiffFile(request))
