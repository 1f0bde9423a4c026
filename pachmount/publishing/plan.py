"""Checking what somebody wants to publish, before anything is written, and the pipeline that it will be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pachmount.datums.document import Value, first_document
from pachmount.datums.model import Cross, Input, PfsInput, leaves
from pachmount.datums.rules import PUBLISHED
from pachmount.datums.spec import parse
from pachmount.errors import InvalidNameError, UsageError
from pachmount.names import unstorable_reason
from pachmount.publishing.model import CodeFile, PipelineSpec, Resources
from pachmount.publishing.notebook import CODE_FILE, REQUIREMENTS_FILE

DESCRIPTION = "Auto-generated from notebook"
ENTRYPOINT_FILE = "entrypoint.py"
CONTEXT_SUFFIX = "__context"
BRANCH_PREFIX = "commit_"
UNKNOWN_BRANCH = "…"
"""Stands for the branch of a commit that is not there yet."""
GPU_MODES = ("None", "Simple", "Advanced")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_LONGEST_NAME = 63 - len(CONTEXT_SUFFIX)
_PROJECT = re.compile(r"[A-Za-z0-9_-]+")
_IMAGE = re.compile(r"[\w./:@-]+", re.ASCII)
_QUANTITY = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[kKMGTPE]i?|m|[eE][0-9]+)?")
_INCLUDED = re.compile(r"(?:-r|-c|--requirement|--constraint)[ =]?\s*(?P<file>[^\s#]+)")
_ONE_GPU = Resources(gpu_type="nvidia.com/gpu", gpu_number=1)
_RESOURCES = "pps_v2.ResourceSpec"
_FIELDS = {name: name for name in ("cpu", "memory", "disk", "gpu")}
_GPU_FIELDS = {name: name for name in ("type", "number")}


@dataclass(frozen=True)
class Plan:
    """What is to be published; everything in it has been checked without a cluster."""

    project: str
    name: str
    image: str
    input: Input
    files: tuple[CodeFile, ...]
    port: int = 0
    limits: Resources | None = None

    @property
    def context_repo(self) -> str:
        """The repo, in the pipeline's project, that holds the code."""
        return self.name + CONTEXT_SUFFIX

    def pipeline(self, branch: str) -> PipelineSpec:
        """The pipeline that runs the code at a branch of the context repo."""
        context = PfsInput(self.context_repo, self.project, self.context_repo, branch, "/")
        return PipelineSpec(
            project=self.project,
            name=self.name,
            description=DESCRIPTION,
            image=self.image,
            command=("python3", "-u", f"/pfs/{self.context_repo}/{ENTRYPOINT_FILE}"),
            input=Cross((self.input, context)),
            port=self.port,
            limits=self.limits,
        )


def make_plan(
    *,
    project: str,
    name: str,
    image: str,
    input_spec: str,
    files: Sequence[CodeFile],
    port: int = 0,
    gpu_mode: str = "None",
    resource_spec: str = "",
) -> Plan:
    """Check everything that can be checked without a cluster. Raises UsageError; its `why` may be a place in a text.

    `input_spec` and `resource_spec` are YAML or JSON; the latter counts with the GPU mode "Advanced" alone. A repo of
    the input without a project is in the pipeline's.
    """
    for field, value in (("name", name), ("image", image), ("input", input_spec.strip())):
        if not value:
            raise UsageError(f"field {field} not set", "a pipeline needs it")
    _check_name(name)
    if not _PROJECT.fullmatch(project):
        raise InvalidNameError(f"invalid project '{project}'", "only letters, digits, '_' and '-'")
    if not _IMAGE.fullmatch(image):
        raise UsageError(f"invalid image '{image}'", "it is [REGISTRY/]NAME[:TAG]")
    if not 0 <= port < 1 << 16:
        raise UsageError(f"invalid port {port}", "it is 1 to 65535")
    source = parse(input_spec, PUBLISHED, project)
    context = name + CONTEXT_SUFFIX
    if any(leaf.directory == context for leaf in leaves(source)):
        raise UsageError(
            f"an input has the name '{context}'", "that is the name of the code's own", "name it otherwise"
        )
    return Plan(project, name, image, source, _checked_files(files), port, _limits(gpu_mode, resource_spec))


def entrypoint() -> CodeFile:
    """Our program that runs the code."""
    return CodeFile(ENTRYPOINT_FILE, Path(__file__).with_name(ENTRYPOINT_FILE).read_text(encoding="utf-8"))


def _check_name(name: str) -> None:
    what = f"invalid pipeline name '{name:.80}'"
    if not _NAME.fullmatch(name):
        why = "only letters, digits, '_' and '-', and it begins with a letter or digit"
        raise InvalidNameError(what, why, "choose another with --name")
    if len(name) > _LONGEST_NAME:
        raise InvalidNameError(what, f"it has more than {_LONGEST_NAME} characters", "choose another with --name")


def _checked_files(files: Sequence[CodeFile]) -> tuple[CodeFile, ...]:
    names = [file.path for file in files]
    for name in names:
        if not name or "/" in name or unstorable_reason(name):
            why = unstorable_reason(name) or "it is a name without directories"
            raise UsageError(f"invalid file '{name}'", why, "rename it")
        if names.count(name) > 1:
            raise UsageError(f"two files have the name '{name}'", "all of them are in one directory", "rename one")
    if ENTRYPOINT_FILE not in names:
        if CODE_FILE not in names:
            raise UsageError(f"there is no {CODE_FILE}", f"it is what {ENTRYPOINT_FILE} runs")
        files = [*files, entrypoint()]
    for file in files:
        if file.path == REQUIREMENTS_FILE:
            _check_requirements(file.text, names)
    return tuple(files)


def _check_requirements(text: str, names: Iterable[str]) -> None:
    """Other files that they name must be there, too: pip would fail in each worker."""
    for number, line in enumerate(text.splitlines(), 1):
        found = _INCLUDED.match(line.strip())
        if found and "://" not in found["file"] and found["file"] not in names:
            what = f"the requirements name '{found['file']}', which is not published"
            raise UsageError(what, f"{REQUIREMENTS_FILE}, line {number}", "add it as another file")


def _limits(gpu_mode: str, resource_spec: str) -> Resources | None:
    if gpu_mode not in GPU_MODES:
        raise UsageError(f"invalid GPU mode '{gpu_mode}'", f"it is one of {', '.join(GPU_MODES)}")
    if gpu_mode == "None":
        return None
    if gpu_mode == "Simple":
        return _ONE_GPU
    if not resource_spec.strip():
        raise UsageError("field resource_spec not set", "the GPU mode Advanced needs it")
    try:
        return _resources(first_document(resource_spec))
    except UsageError as error:
        error.what = f"resource spec: {error.what}"
        raise


def _resources(document: Value) -> Resources:
    fields = document.fields(_FIELDS, _RESOURCES)
    gpu = fields["gpu"].fields(_GPU_FIELDS, "pps_v2.GPUSpec") if "gpu" in fields else {}
    if gpu and "type" not in gpu:
        raise fields["gpu"].error("a gpu needs a type", "such as nvidia.com/gpu")
    return Resources(
        cpu=_amount(fields["cpu"]) if "cpu" in fields else 0.0,
        memory=_quantity(fields["memory"]) if "memory" in fields else "",
        disk=_quantity(fields["disk"]) if "disk" in fields else "",
        gpu_type=gpu["type"].text() if gpu else "",
        gpu_number=_count(gpu["number"]) if "number" in gpu else int(bool(gpu)),
    )


def _amount(value: Value) -> float:
    found = value.plain()
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < 1e6:
        raise value.error("cpu must be a number of cores", "such as 0.5")
    return float(found)


def _count(value: Value) -> int:
    found = value.plain()
    if isinstance(found, bool) or not isinstance(found, int) or not 0 < found < 1 << 31:
        raise value.error("the number of GPUs must be 1 or more")
    return found


def _quantity(value: Value) -> str:
    found = value.plain()
    text = str(found) if isinstance(found, int) and not isinstance(found, bool) else found
    if not isinstance(text, str) or not _QUANTITY.fullmatch(text):
        raise value.error(f"{value.path} must be a quantity", "such as 512Mi or 1G")
    return text
