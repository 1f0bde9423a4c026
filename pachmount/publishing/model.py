"""Frozen dataclasses of what is published: files of code, and the pipeline that runs them."""

from __future__ import annotations

from dataclasses import dataclass

from pachmount.datums.model import Input


@dataclass(frozen=True)
class CodeFile:
    """A file of a context repo; `path` is a name without directories."""

    path: str
    text: str


@dataclass(frozen=True)
class Resources:
    """What a worker may use. `cpu` counts cores; `memory` and `disk` are Kubernetes quantities such as `512Mi`; 0 and
    "" mean no limit. `gpu_type` is a Kubernetes resource such as `nvidia.com/gpu`.
    """

    cpu: float = 0.0
    memory: str = ""
    disk: str = ""
    gpu_type: str = ""
    gpu_number: int = 0


@dataclass(frozen=True)
class PipelineSpec:
    """A pipeline as it is created; `port` (0: none) makes it a service that is reached at that port."""

    project: str
    name: str
    description: str
    image: str
    command: tuple[str, ...]
    input: Input
    port: int = 0
    limits: Resources | None = None
