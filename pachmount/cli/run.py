"""`run`: a command over the datums of a pipeline's input, each in a /pfs of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachmount import paths
from pachmount.cli import options as opt
from pachmount.cli.specs import read_spec
from pachmount.cli.state import State
from pachmount.errors import UsageError

if TYPE_CHECKING:
    from pachmount.datums.spec import Pipeline
    from pachmount.running.transform import Transform

Spec = Annotated[
    str, typer.Argument(metavar="SPEC", help="A pipeline's spec, or only its input: YAML or JSON; '-': stdin.")
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        min=0,
        help="Datums at a time. Default: as many as CPUs, at most 4.",
        show_default=False,
    ),
]
Datums = Annotated[
    list[str] | None,
    typer.Option("--datum", metavar="N|ID", help="Only this datum, by number (from 0) or id; may be repeated."),
]
Timeout = Annotated[
    str | None, typer.Option("--timeout", metavar="TIME", help="Of a try: 30s, 5m. Default: the spec's.")
]
Retries = Annotated[
    int | None, typer.Option("--retries", metavar="N", min=0, help="Further tries. Default: datum_tries - 1, or 2.")
]
FailFast = Annotated[bool, typer.Option("--fail-fast", metavar="", help="Begin no datum after one has failed.")]
Again = Annotated[bool, typer.Option("--again", metavar="", help="Also run the datums that were done before.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Put the outputs of all datums there.")]
Replace = Annotated[bool, typer.Option("--replace", metavar="", help="Let --out replace what DIR has.")]
CommitOut = Annotated[
    str, typer.Option("--commit-out", metavar="REPO[@BRANCH]", help="Make the outputs one commit, as a pipeline does.")
]
RunDir = Annotated[
    Path | None,
    typer.Option("--run-dir", metavar="DIR", help="Where logs and outputs are kept. See docs/semantics.md."),
]
Code = Annotated[
    list[Path] | None,
    typer.Option(
        "--code", metavar="PATH", help="Belongs to the code: when it changes, all runs anew; may be repeated."
    ),
]
Serial = Annotated[
    bool, typer.Option("--serial", metavar="", help="Without namespaces: one at a time, in the mount directory.")
]
Junit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Also write the outcome as JUnit's XML.")]


def run(
    state: State,
    spec: Spec,
    jobs: Jobs = 0,
    datum: Datums = None,
    timeout: Timeout = None,
    retries: Retries = None,
    fail_fast: FailFast = False,
    again: Again = False,
    out: Out = None,
    replace: Replace = False,
    commit_out: CommitOut = "",
    run_dir: RunDir = None,
    code: Code = None,
    junit: Junit = None,
    serial: Serial = False,
    as_json: opt.Json = False,  # noqa: ARG001 (State.as_json has it)
) -> int:
    """Run code over datums here, as a pipeline would.

    \b
    Examples:
      pachmount run edges.yaml -- python edges.py          every datum
      pachmount run edges.yaml --datum 7 -- python edges.py
      pachmount run edges.yaml -j 2 --out ./result         with the spec's command
      pachmount run edges.yaml --commit-out edges@dev -- python edges.py

    For each datum the command has a mount namespace of its own, in which /pfs
    holds that datum's files and an empty /pfs/out, and the variables of a
    pipeline (PACH_DATUM_ID, ...). What it prints is kept. Without a COMMAND that
    of the spec is run. Datums that were done before, by the same code on the
    same files, are skipped: after Ctrl-C the same command goes on. The exit
    code is 1 if a datum failed; then no output is merged. Needs what
    'pachmount exec' needs (docs/deploy/hpc.md), or --serial.
    """
    from pachmount.cli import run_session

    read = read_spec(spec)
    transform = _transform(read.pipeline, state.program, timeout, retries)
    title = read.name or ("stdin" if spec == "-" else Path(spec).stem)
    where = run_dir.absolute() if run_dir is not None else _usual_dir(spec, title, read.pipeline)
    wishes = run_session.Wishes(
        title=title,
        source=read.source,
        transform=transform,
        jobs=jobs,
        datums=tuple(datum or ()),
        fail_fast=fail_fast,
        again=again,
        out=out.absolute() if out is not None else None,
        replace=replace,
        commit_out=commit_out,
        run_dir=where,
        code=tuple(path.absolute() for path in code or ()),
        junit=junit.absolute() if junit is not None else None,
        serial=serial,
    )
    return run_session.run(state, wishes)


def _transform(pipeline: Pipeline, program: list[str], timeout: str | None, retries: int | None) -> Transform:
    from pachmount.running.transform import read_transform, seconds_of

    transform = read_transform(pipeline.fields)
    if program:
        transform = transform.running(program)
    elif not transform.cmd:
        raise UsageError("nothing to run", "the spec has no 'transform.cmd'", "pachmount run SPEC -- COMMAND")
    if timeout is not None:
        transform = replace(transform, timeout=seconds_of(timeout, "--timeout"))
    if retries is not None:
        transform = replace(transform, tries=retries + 1)
    return transform


def _usual_dir(spec: str, title: str, pipeline: Pipeline) -> Path:
    """One directory for each spec file; for a spec on stdin, one for each input."""
    from hashlib import sha256

    from pachmount.datums.spec import to_dict

    identity = str(to_dict(pipeline.input)) if spec == "-" else str(Path(spec).absolute())
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in title)[:50].lstrip(".")
    return paths.runs_dir() / f"{name}-{sha256(identity.encode(errors='surrogateescape')).hexdigest()[:8]}"
