"""Calls that no recording covers, or where the embedded server differs on purpose."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from pachmount.pfs.proto import admin_pb2, pfs_pb2, pps_pb2, pps_pb2_grpc, version_pb2_grpc
from tests.localpfs.servers import Server, add, modify, on_branch, read, repo, walk


def _pps(server: Server) -> Any:
    return pps_pb2_grpc.APIStub(server.channel)  # type: ignore[no-untyped-call]


def _refusal(call: Any, request: Any) -> grpc.RpcError:
    def run() -> None:
        answer = call(request)
        if hasattr(answer, "__next__"):
            list(answer)

    with pytest.raises(grpc.RpcError) as caught:
        run()
    return caught.value


def test_version_is_the_one_it_behaves_like(server: Server) -> None:
    from google.protobuf.empty_pb2 import Empty

    stub = version_pb2_grpc.APIStub(server.channel)  # type: ignore[no-untyped-call]
    version = stub.GetVersion(Empty())
    assert (version.major, version.minor, version.micro) == (2, 11, 6)


def test_cluster_id_is_stable(server: Server) -> None:
    inspect = server.channel.unary_unary(
        "/admin_v2.API/InspectCluster",
        admin_pb2.InspectClusterRequest.SerializeToString,
        admin_pb2.ClusterInfo.FromString,
    )
    assert inspect(admin_pb2.InspectClusterRequest()).id == inspect(admin_pb2.InspectClusterRequest()).id != ""


@pytest.mark.parametrize("method", ["CreatePipeline", "ListPipeline", "InspectPipeline", "ListJob", "InspectJob"])
def test_pipelines_are_refused_with_a_sentence(server: Server, method: str) -> None:
    call = getattr(_pps(server), method)
    error = _refusal(call, getattr(pps_pb2, f"{method}Request")())
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "never runs pipelines" in str(error.details())


def test_branches_with_provenance_are_refused(server: Server, new_repo: str) -> None:
    branch = pfs_pb2.Branch(name="b", repo=repo(new_repo))
    request = pfs_pb2.CreateBranchRequest(branch=branch, provenance=[pfs_pb2.Branch(name="a", repo=repo(new_repo))])
    assert _refusal(server.pfs.CreateBranch, request).code() is grpc.StatusCode.UNIMPLEMENTED


def test_negative_offset_is_refused(server: Server, new_repo: str) -> None:
    modify(server, on_branch(new_repo), add("/a", b"1"))
    request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=on_branch(new_repo), path="/a"), offset=-1)
    assert _refusal(server.pfs.GetFile, request).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert read(server, on_branch(new_repo), "/a") == b"1"


def test_create_datum_gives_batches(server: Server, new_repo: str) -> None:
    modify(server, on_branch(new_repo), *(add(f"/{number}", b"x") for number in range(10)))
    source = pps_pb2.Input(pfs=pps_pb2.PFSInput(project="default", repo=new_repo, glob="/*"))
    listed = [info.datum.id for info in _pps(server).ListDatum(pps_pb2.ListDatumRequest(input=source))]
    assert len(listed) == 10

    def requests() -> Iterator[pps_pb2.CreateDatumRequest]:
        yield pps_pb2.CreateDatumRequest(start=pps_pb2.StartCreateDatumRequest(input=source, number=3))
        for number in (4, 100):
            request = pps_pb2.CreateDatumRequest()
            getattr(request, "continue").number = number
            yield request

    assert [info.datum.id for info in _pps(server).CreateDatum(requests())] == listed


def test_archive_of_long_names_and_big_files(server: Server, new_repo: str) -> None:
    big = bytes(5_000_000)
    names = {"/" + "n" * 300: b"1", "/d/" + "m" * 150 + "/x": b"2", "/big": big}
    modify(
        server,
        on_branch(new_repo),
        *(
            add(name, data[start : start + 2_000_000])
            for name, data in names.items()
            for start in range(0, len(data), 2_000_000)
        ),
    )
    request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=on_branch(new_repo), path="/"))
    parts = [part.value for part in server.pfs.GetFileTAR(request)]
    assert max(map(len, parts)) < 4 * 1024 * 1024
    with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as archive:
        found = {info.name: archive.extractfile(info).read() for info in archive if info.isfile()}  # type: ignore[union-attr]
    assert found == names


def test_datum_with_a_slash(server: Server, new_repo: str) -> None:
    request = pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path="/a/b", datum="x/y"))
    modify(server, on_branch(new_repo), request, add("/a/c", b"1"))
    assert [(info.file.path, info.file.datum) for info in walk(server, on_branch(new_repo))] == [
        ("/", ""),
        ("/a/", ""),
        ("/a/b", "x/y"),
        ("/a/c", "default"),
    ]


def test_the_whole_text_of_a_missing_branch_names_it(server: Server, new_repo: str) -> None:
    request = pfs_pb2.ListFileRequest(file=pfs_pb2.File(commit=on_branch(new_repo), path="/"))
    error = _refusal(server.pfs.ListFile, request)
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert f'branch "master" not found in repo default/{new_repo}' in str(error.details())


def test_a_big_delta_goes_through_pages_on_disk(server: Server, new_repo: str) -> None:
    names = [f"/d{number % 50}/f{number}" for number in range(25_000)]
    gone = pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path="/d7/"))
    modify(
        server, on_branch(new_repo), *(add(name) for name in names), gone, add("/d7/again", b"x"), add(names[0], b"y")
    )
    infos = walk(server, on_branch(new_repo))
    files = sorted(info.file.path for info in infos if info.file_type == pfs_pb2.FILE)
    assert files == sorted([name for name in names if not name.startswith("/d7/")] + ["/d7/again"])
    assert infos[0].size_bytes == 2
