"""A cluster that runs pipelines, as far as publishing notices: an embedded store, and pipelines that never run.

It remembers each request for a pipeline, and each of its versions, and fails calls on demand.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from pachmount.errors import AlreadyExistsError
from pachmount.localpfs import rpc, service_cluster
from pachmount.localpfs.server import services
from pachmount.localpfs.status import Code, Refusal, not_found
from pachmount.localpfs.store import Store
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, RepoRef
from pachmount.pfs.proto import pps_pb2

Key = tuple[str, str]
"""Project and name."""


class PipelineCluster:
    """Over TCP on 127.0.0.1, in this process."""

    def __init__(self, root: Path) -> None:
        self.requests: list[pps_pb2.CreatePipelineRequest] = []
        self.versions: dict[Key, list[pps_pb2.PipelineInfo]] = {}
        self.jobs: dict[Key, list[pps_pb2.JobInfo]] = {}
        self.faults: dict[str, Refusal] = {}
        """What a call is refused with, by its method."""
        self.answers_are_lost = False
        """Pipelines are made, but whoever asked for one is not told."""
        self.tells_details = True
        self._store = Store(root)
        methods = services(self._store, None)
        methods["pps_v2.API"] |= {
            "CreatePipeline": rpc.unary(self._create, pps_pb2.CreatePipelineRequest),
            "InspectPipeline": rpc.unary(self._inspect, pps_pb2.InspectPipelineRequest),
            "ListPipeline": rpc.stream(self._list, pps_pb2.ListPipelineRequest),
            "ListJob": rpc.stream(self._list_jobs, pps_pb2.ListJobRequest),
        }
        self._server = grpc.server(
            ThreadPoolExecutor(64),
            handlers=[
                *(grpc.method_handlers_generic_handler(name, of_service) for name, of_service in methods.items()),
                service_cluster.Rest(),
            ],
            interceptors=[_Faults(self)],
            options=[("grpc.so_reuseport", 0)],
        )
        self.address = f"grpc://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        self.client = PfsClient(self.address)

    def close(self) -> None:
        self.client.close()
        self._store.news.close()
        self._server.stop(None).wait(10)
        self._store.close()

    def put(self, repo: RepoRef, files: dict[str, bytes], branch: str = "master") -> str:
        """Make a repo and add files to it; the id of the commit."""
        with contextlib.suppress(AlreadyExistsError):
            self.client.create_project(repo.project)
        self.client.create_repo(repo, update=True)
        with self.client.modify_file(CommitRef(repo, "", branch)) as change:
            for path, content in files.items():
                change.add_file(path, content)
        return self.client.inspect_commit(CommitRef(repo, branch), wait="finished", timeout=60).commit.id

    def branches(self, repo: RepoRef) -> set[str]:
        return {branch.name for branch in self.client.list_branches(repo)}

    def files(self, repo: RepoRef, branch: str) -> dict[str, str]:
        """The files of a branch, by path."""
        commit = CommitRef(repo, branch)
        return {
            entry.path: b"".join(self.client.open(commit, entry.path)).decode()
            for entry in self.client.walk(commit)
            if not entry.is_dir
        }

    def _create(self, request: pps_pb2.CreatePipelineRequest, _: rpc.Context) -> Empty:
        self.requests.append(request)
        key = request.pipeline.project.name, request.pipeline.name
        info = pps_pb2.PipelineInfo(
            pipeline=request.pipeline, version=len(self.versions.get(key, [])) + 1, state=pps_pb2.PIPELINE_STARTING
        )
        if self.tells_details:
            info.details.input.CopyFrom(request.input)
            info.details.created_at.FromSeconds(1_800_000_000)
        self.versions.setdefault(key, []).append(info)
        if self.answers_are_lost:
            raise Refusal(Code.UNAVAILABLE, "transport is closing")
        return Empty()

    def _inspect(self, request: pps_pb2.InspectPipelineRequest, _: rpc.Context) -> pps_pb2.PipelineInfo:
        versions = self.versions.get((request.pipeline.project.name, request.pipeline.name))
        if versions is None:
            raise not_found(f'pipeline "{request.pipeline.project.name}/{request.pipeline.name}" not found')
        return versions[-1]

    def _list(self, request: pps_pb2.ListPipelineRequest, _: rpc.Context) -> Iterator[pps_pb2.PipelineInfo]:
        projects = {project.name for project in request.projects}
        for (project, name), versions in self.versions.items():
            wanted = not request.pipeline.name or (request.pipeline.project.name, request.pipeline.name) == (
                project,
                name,
            )
            if wanted and (not projects or project in projects):
                yield from reversed(versions if request.history < 0 else versions[-1 - request.history :])

    def _list_jobs(self, request: pps_pb2.ListJobRequest, _: rpc.Context) -> Iterator[pps_pb2.JobInfo]:
        assert request.number == 1
        key = request.pipeline.project.name, request.pipeline.name
        yield from self.jobs.get(key, [])[-1:]


class _Faults(grpc.ServerInterceptor):  # type: ignore[misc]
    def __init__(self, cluster: PipelineCluster) -> None:
        self._cluster = cluster

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        fault = self._cluster.faults.get(details.method.rpartition("/")[2])
        return continuation(details) if fault is None else rpc.refuse(fault)


def context(name: str, project: str = "default") -> RepoRef:
    """The context repo of a pipeline."""
    return RepoRef(project, f"{name}__context")


@contextlib.contextmanager
def pipeline_cluster(root: Path) -> Iterator[PipelineCluster]:
    """A running one, for the length of the block."""
    cluster = PipelineCluster(root)
    try:
        yield cluster
    finally:
        cluster.close()
