"""`publish`: a notebook or a script becomes a pipeline; `pipelines`: how they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.state import State
from pachmount.errors import NotFoundError, UsageError
from pachmount.publishing import cells, notebook
from pachmount.publishing.notebook import PipelineConfig

if TYPE_CHECKING:
    from pachmount.api.schema import JobAnswer, PipelineAnswer, PublishedAnswer, PublishRequest

NOTEBOOK_SUFFIX = ".ipynb"
SPEC_SUFFIXES = (".yaml", ".yml", ".json")
LONGEST_PATH = 4096

Code = Annotated[Path, typer.Argument(metavar="FILE", help="A notebook (.ipynb) or a script in Python.")]
Image = Annotated[str, typer.Option("--image", metavar="IMAGE", help="The container image that it runs in.")]
InputSpec = Annotated[
    str,
    typer.Option(
        "--input",
        metavar="SPEC",
        help="What it reads: a file with an input (or a pipeline) in YAML or JSON, - for standard input, its text, or "
        "in short [PROJECT/]REPO[@BRANCH]:GLOB.",
    ),
]
Name = Annotated[str, typer.Option("--name", "-n", metavar="NAME", help="The pipeline's. Default: made of FILE's.")]
Project = Annotated[str, typer.Option("--project", metavar="PROJECT", help="The pipeline's. Default: the context's.")]
Requirements = Annotated[
    Path | None, typer.Option("--requirements", metavar="FILE", help="Python packages for pip to install first.")
]
Files = Annotated[
    list[Path] | None,
    typer.Option("--file", metavar="PATH", help="Another file of code or text beside it; may be repeated."),
]
Port = Annotated[
    int, typer.Option("--port", metavar="N", show_default=False, help="Make it a service that is reached at this port.")
]
Gpu = Annotated[bool, typer.Option("--gpu", metavar="", help="Run it with one GPU (nvidia.com/gpu).")]
ResourceSpec = Annotated[
    str,
    typer.Option(
        "--resources", metavar="SPEC", help="Limits: cpu, memory, disk, gpu; a file, or text in YAML or JSON."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", metavar="", help="Check everything, make nothing, and print the pipeline.")
]
Which = Annotated[str, typer.Argument(metavar="[NAME]", help="One pipeline. Default: all.", show_default=False)]
InProject = Annotated[str, typer.Option("--project", metavar="PROJECT", help="Those of this project.")]


def publish(
    state: State,
    file: Code,
    image: Image = "",
    input_spec: InputSpec = "",
    name: Name = "",
    project: Project = "",
    requirements: Requirements = None,
    files: Files = None,
    port: Port = 0,
    gpu: Gpu = False,
    resources: ResourceSpec = "",
    dry_run: DryRun = False,
    as_json: opt.Json = False,
) -> None:
    """Make a pipeline of a notebook or a script.

    \b
    Examples:
      pachmount publish edges.py --image python:3.12 --input 'images:/*'
      pachmount publish edges.ipynb --requirements requirements.txt
      pachmount publish edges.ipynb              as its metadata says
      pachmount publish edges.ipynb --dry-run
      pachmount pipelines edges                  how it goes

    A notebook that was published from JupyterLab has all of this in its metadata;
    options come before that. The code goes into the repo NAME__context, and runs
    with its input at /pfs, as in 'pachmount run'. Published again, it is the next
    version, and all data are processed anew. See docs/publish.md.
    """
    script, said = _read(file)
    request = _request(
        said,
        name=name or said.name or notebook.default_name(file),
        project=project or said.project,
        image=image or said.image,
        input_spec=_input_text(input_spec) if input_spec else said.input_spec,
        port=port or said.port,
        gpu=gpu,
        resources=_spec_text(resources),
    )
    code = notebook.code_files(script, *_companions(file, said, requirements, files or []))
    request = request.model_copy(update={"code": _entries(code), "dry_run": dry_run})
    client = state.client(start=True)
    with output.waiting("publishing", enabled=not state.quiet):
        answer = client.publish(request)
    if as_json:
        output.json_answer(answer)
        return
    _tell(state, answer)
    if cells.uses_ipython(script):
        state.note("the code uses IPython's commands: its image or its requirements have to have ipython")


def pipelines(state: State, name: Which = "", project: InProject = "", as_json: opt.Json = False) -> None:
    """Show pipelines, each with the last job of its version.

    \b
    Examples:
      pachmount pipelines
      pachmount pipelines edges
      pachmount pipelines --project photos --json
    """
    found = state.client(start=True).pipelines(project, name)
    if name and not found:
        raise NotFoundError(f"no pipeline '{name}'", hint="'pachmount pipelines' shows all")
    if as_json:
        output.json_answer(found)
        return
    output.table(("PIPELINE", "VERSION", "STATE", "JOB", "DATUMS", "STARTED"), [_row(entry) for entry in found])
    for entry in found:
        reasons = [entry.reason, entry.last_job.reason if entry.last_job is not None else ""]
        for reason in filter(None, reasons):
            state.note(f"{entry.project}/{entry.name}: {reason}")


def _read(file: Path) -> tuple[str, PipelineConfig]:
    """The script in a file, and what a notebook says of its pipeline."""
    if file.suffix == NOTEBOOK_SUFFIX:
        read = notebook.read_notebook(file)
        return read.script(), read.config()
    return notebook.read_text(file), PipelineConfig()


def _request(
    said: PipelineConfig,
    *,
    name: str,
    project: str,
    image: str,
    input_spec: str,
    port: int,
    gpu: bool,
    resources: str,
) -> PublishRequest:
    """What to ask for, without the code. Raises UsageError for what is missing."""
    from pachmount.api.schema import PublishRequest

    for value, what, hint in (
        (name, "pipeline has no name", "give one: --name NAME"),
        (image, "no image", "give the one that the code runs in: --image IMAGE"),
        (input_spec, "no input", "say what the code reads: --input SPEC"),
    ):
        if not value:
            raise UsageError(what, "neither an option nor the notebook's metadata tells it", hint)
    if gpu and resources:
        raise UsageError("--gpu and --resources exclude each other", "", "give the GPU in --resources")
    mode, spec = said.gpu_mode, said.resource_spec
    if gpu or resources:
        mode, spec = ("Simple", "") if gpu else ("Advanced", resources)
    return PublishRequest(
        name=name, project=project, image=image, input=input_spec, port=port, gpu_mode=mode, resource_spec=spec
    )


def _companions(
    file: Path, said: PipelineConfig, requirements: Path | None, others: list[Path]
) -> tuple[Path | None, list[Path]]:
    """The requirements and the other files: those that options name, or else the notebook."""
    if requirements is None and said.requirements:
        requirements = file.parent / said.requirements
    return requirements, others or [notebook.beside(file, name) for name in said.external_files]


def _input_text(given: str) -> str:
    """The text of an input, which may be given in its short form."""
    text = _text_in_file(given)
    if text is not None:
        return text
    if "{" in given or "\n" in given.strip() or ": " in given:
        return given
    from pachmount.datums.spec import parse_short, to_dict

    told = to_dict(parse_short(given))
    if "/" not in given.partition(":")[0]:
        del told["pfs"]["project"]  # it is the pipeline's, which the daemon may have to tell
    return json.dumps(told)


def _spec_text(given: str) -> str:
    text = _text_in_file(given)
    return given if text is None else text


def _text_in_file(given: str) -> str | None:
    """What a file or standard input (`-`) has; None for what is no name of a file, but text by itself."""
    if given == "-":
        return sys.stdin.read(notebook.MOST_CODE_BYTES)
    if "{" in given or "\n" in given or len(given) > LONGEST_PATH:
        return None
    return notebook.read_text(Path(given)) if given.endswith(SPEC_SUFFIXES) or Path(given).is_file() else None


def _entries(code: list[dict[str, str]]) -> list[object]:
    from pachmount.api.schema import CodeEntry

    return [CodeEntry(**entry) for entry in code]


def _tell(state: State, answer: PublishedAnswer) -> None:
    for warning in answer.warnings:
        state.note(f"warning: {warning}")
    if not answer.commit:
        output.text(json.dumps(answer.spec, indent=2) + "\n")
        state.note(answer.message)
        return
    version = f" as version {answer.version}" if answer.version is not None else ""
    output.line(f"{answer.message}{version}")
    state.note(f"its code: {answer.project}/{answer.context_repo}@{answer.branch}")
    project = f" --project {answer.project}" if answer.project != "default" else ""
    state.hint(f"'pachmount pipelines {answer.pipeline}{project}' shows how it goes")


def _row(entry: PipelineAnswer) -> tuple[str, ...]:
    job = entry.last_job
    where = f"{entry.project}/{entry.name}"
    if job is None:
        return where, str(entry.version), entry.state, "-", "-", "-"
    return where, str(entry.version), entry.state, job.state, _datums(job), output.when(job.started)


def _datums(job: JobAnswer) -> str:
    failed = f", {job.failed} failed" if job.failed else ""
    return f"{job.done} of {job.total}{failed}"
