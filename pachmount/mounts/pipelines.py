"""Pipelines of the cluster, each with its last job; and the error for a cluster that runs none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from pachmount.errors import NeedsClusterError, NotPermittedError, PachmountError
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import JobInfo, PipelineInfo
from pachmount.pfs.status import is_call_missing

_CALLS_AT_ONCE = 8


@contextlib.contextmanager
def needs_pipelines() -> Iterator[None]:
    """Turns the answer of a server that runs no pipelines into a NeedsClusterError."""
    try:
        yield
    except PachmountError as error:
        if not is_call_missing(error):
            raise
        what = "publishing needs a cluster that runs pipelines"
        why = "the embedded server keeps files alone" if "embedded server" in str(error) else str(error)
        raise NeedsClusterError(what, why, "connect to one: pachmount login ADDRESS") from error


def list_pipelines(client: PfsClient, project: str = "", name: str = "") -> list[tuple[PipelineInfo, JobInfo | None]]:
    """The pipelines of a project ("": of all), or the one of that name in it, each with the last job of its version.

    The job is None where there is none yet, or we may not see it. Raises NeedsClusterError.
    """
    with needs_pipelines():
        if name:
            found = client.pipelines.find(project, name)
            pipelines = [found] if found is not None else []
        else:
            pipelines = client.pipelines.list([project] if project else [])
        with ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="jobs") as pool:
            jobs = list(pool.map(lambda info: _last_job(client, info), pipelines))
    return list(zip(pipelines, jobs, strict=True))


def _last_job(client: PfsClient, pipeline: PipelineInfo) -> JobInfo | None:
    try:
        return client.pipelines.last_job(pipeline.project, pipeline.name)
    except NotPermittedError:
        return None
