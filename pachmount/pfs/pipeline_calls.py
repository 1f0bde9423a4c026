"""The cluster's calls about pipelines and their jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import DecodeError

from pachmount.datums.model import Input, leaves
from pachmount.errors import ClusterError, DataError, NotFoundError, PachmountError, UsageError
from pachmount.names import DEFAULT_BRANCH, DEFAULT_PROJECT
from pachmount.pfs import convert
from pachmount.pfs.datum_calls import input_message
from pachmount.pfs.model import JobInfo, PipelineInfo, RepoRef
from pachmount.pfs.proto import pps_pb2
from pachmount.pfs.rpc import Rpc
from pachmount.publishing.model import PipelineSpec, Resources

ALL_VERSIONS = -1

_PPS = "/pps_v2.API/"
_CREATE_SECONDS = 60.0


class PipelineCalls:
    """Over one connection; thread-safe. Every call raises a PachmountError.

    `status.is_call_missing` tells whether that is because the server runs no pipelines.
    """

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def create(self, spec: PipelineSpec) -> None:
        """Create a pipeline, or make it this one: a new version, which processes all datums again.

        Not repeated after a failure; after a ClusterUnreachableError it is not known whether it was done.
        """
        request = create_message(spec)
        self._rpc.unary(_PPS + "CreatePipeline", request, bytes, timeout=_CREATE_SECONDS, repeatable=False)

    def find(self, project: str, name: str) -> PipelineInfo | None:
        """One pipeline in its newest version; None if there is none."""
        request = pps_pb2.InspectPipelineRequest(pipeline=_pipeline(project, name), details=True)
        try:
            return self._rpc.unary(_PPS + "InspectPipeline", request, _pipeline_info, is_answer=_is_pipeline_missing)
        except PachmountError as error:
            if _is_pipeline_missing(error):
                return None
            raise

    def list(self, projects: Sequence[str] = (), *, name: str = "", history: int = 0) -> list[PipelineInfo]:
        """Pipelines of some projects, or of all; with `name`, which takes one project, one pipeline alone.

        `history` is the number of former versions to give of each, or ALL_VERSIONS.
        """
        request = pps_pb2.ListPipelineRequest(
            history=history, details=True, projects=[convert.project_message(project) for project in projects]
        )
        if name:
            request.pipeline.CopyFrom(_pipeline(projects[0], name))
        return self._rpc.collect(_PPS + "ListPipeline", request, _pipeline_info)

    def last_job(self, project: str, name: str) -> JobInfo | None:
        """The newest job of a pipeline's present version; None if there is none yet."""
        request = pps_pb2.ListJobRequest(pipeline=_pipeline(project, name), number=1)
        return next(iter(self._rpc.collect(_PPS + "ListJob", request, _job_info)), None)


def create_message(spec: PipelineSpec) -> pps_pb2.CreatePipelineRequest:
    """The request that creates a pipeline. Raises UsageError for a trigger that cannot be told."""
    request = pps_pb2.CreatePipelineRequest(
        pipeline=_pipeline(spec.project, spec.name),
        description=spec.description,
        transform=pps_pb2.Transform(image=spec.image, cmd=spec.command),
        input=_whole_input(spec.input),
        update=True,
        reprocess=True,
    )
    if spec.port:
        request.service.CopyFrom(pps_pb2.Service(internal_port=spec.port, external_port=spec.port, type="LoadBalancer"))
    if spec.limits is not None:
        request.resource_limits.CopyFrom(_resources(spec.limits))
    return request


def spec_json(spec: PipelineSpec) -> dict[str, Any]:
    """The pipeline as JSON-ready objects, as pachctl takes them. Raises UsageError as `create_message`."""
    found: dict[str, Any] = MessageToDict(create_message(spec), preserving_proto_field_name=True)
    return found


def _whole_input(source: Input) -> pps_pb2.Input:
    """An input with what matters to workers, too."""
    message = input_message(source)
    for leaf, told in zip(leaves(source), _pfs_messages(message), strict=True):
        told.lazy, told.empty_files, told.s3 = leaf.lazy, leaf.empty_files, leaf.s3
        if leaf.trigger:
            try:
                ParseDict(dict(leaf.trigger), told.trigger)
            except ParseError as error:
                raise UsageError(f"the trigger of input '{leaf.name}' cannot be used", str(error)) from error
    return message


def _is_pipeline_missing(error: PachmountError) -> bool:
    """The code of that failure is NOT_FOUND or UNKNOWN, as of others that come out of the depths of a server."""
    return isinstance(error, NotFoundError) or (isinstance(error, ClusterError) and "not found" in error.what)


def _pfs_messages(message: pps_pb2.Input) -> Iterator[pps_pb2.PFSInput]:
    """Those of the leaves of an input, in its order."""
    if message.HasField("pfs"):
        yield message.pfs
    for member in (*message.cross, *message.union, *message.join, *message.group):
        yield from _pfs_messages(member)


def _resources(limits: Resources) -> pps_pb2.ResourceSpec:
    message = pps_pb2.ResourceSpec(cpu=limits.cpu, memory=limits.memory, disk=limits.disk)
    if limits.gpu_type:
        message.gpu.CopyFrom(pps_pb2.GPUSpec(type=limits.gpu_type, number=limits.gpu_number))
    return message


def _pipeline(project: str, name: str) -> pps_pb2.Pipeline:
    return pps_pb2.Pipeline(project=convert.project_message(project), name=name)


def _pipeline_info(data: bytes) -> PipelineInfo:
    try:
        info = pps_pb2.PipelineInfo.FromString(data)
    except DecodeError as error:
        raise DataError("the cluster sent a damaged pipeline", str(error)) from error
    inputs = None
    if info.HasField("details") and info.details.HasField("input"):
        inputs = frozenset(
            (RepoRef(pfs.project or DEFAULT_PROJECT, pfs.repo), pfs.branch or DEFAULT_BRANCH)
            for pfs in _pfs_messages(info.details.input)
        )
    return PipelineInfo(
        project=info.pipeline.project.name or DEFAULT_PROJECT,
        name=info.pipeline.name,
        version=info.version,
        state=_state(pps_pb2.PipelineState, info.state, "PIPELINE_"),
        reason=info.reason or info.details.reason or info.details.recent_error,
        created=convert.seconds(info.details.created_at) if info.details.HasField("created_at") else None,
        inputs=inputs,
    )


def _job_info(data: bytes) -> JobInfo:
    try:
        info = pps_pb2.JobInfo.FromString(data)
    except DecodeError as error:
        raise DataError("the cluster sent a damaged job", str(error)) from error
    return JobInfo(
        id=info.job.id,
        state=_state(pps_pb2.JobState, info.state, "JOB_"),
        reason=info.reason,
        started=convert.seconds(info.started) if info.HasField("started") else None,
        finished=convert.seconds(info.finished) if info.HasField("finished") else None,
        done=info.data_processed + info.data_skipped + info.data_recovered,
        failed=info.data_failed,
        total=info.data_total,
    )


def _state(kind: Any, value: int, prefix: str) -> str:
    """`running` for PIPELINE_RUNNING; `unknown` also for one of a newer server."""
    name = kind.Name(value) if value in kind.values() else "UNKNOWN"
    return str(name).removeprefix(prefix).removeprefix("STATE_").lower()
