"""Pipelines: publishing code as one, and how they are."""

from __future__ import annotations

from typing import Any

from pachmount.api.schema.base import Model, Request


class CodeEntry(Request):
    """A file of the context repo; `path` is a name without directories."""

    path: str = ""
    text: str = ""


class PublishRequest(Request):
    """`input` is an input, or a pipeline that has one, in YAML or JSON; `resource_spec` in the same counts with the GPU
    mode Advanced alone. `dry_run`: check everything and make nothing.
    """

    name: str = ""
    project: str = ""
    image: str = ""
    input: str = ""
    code: list[CodeEntry] = []
    port: int = 0
    gpu_mode: str = "None"
    resource_spec: str = ""
    dry_run: bool = False


class PublishedAnswer(Model):
    """`spec` is the pipeline as it was sent. After a dry run `version` is null, `branch` and `commit` are ""."""

    pipeline: str
    project: str
    version: int | None
    context_repo: str
    branch: str
    commit: str
    message: str
    spec: dict[str, Any]
    warnings: list[str] = []


class JobAnswer(Model):
    """`done`, `failed` and `total` count datums; times are seconds since the epoch."""

    id: str
    state: str
    reason: str
    started: float | None
    finished: float | None
    done: int
    failed: int
    total: int


class PipelineAnswer(Model):
    """A pipeline in its present version; `last_job` is that version's newest."""

    project: str
    name: str
    version: int
    state: str
    reason: str
    created: float | None
    last_job: JobAnswer | None
