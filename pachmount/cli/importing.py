"""`import`: a directory tree becomes one commit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pachmount import connecting, names
from pachmount.cli import options as opt
from pachmount.cli import output, uploading
from pachmount.cli.state import State
from pachmount.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from pachmount.pfs.upload import ImportResult

SKIPPED_SHOWN = 10

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The directory whose contents are imported.")]
Target = Annotated[str, typer.Argument(metavar="TARGET", help="[PROJECT/]REPO[@BRANCH][:/PATH]. Branch: master.")]
Message = Annotated[str, typer.Option("--message", "-m", metavar="TEXT", help="The message of the commit.")]
Exclude = Annotated[
    list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Leave out what matches; may be repeated.")
]
SkipInvalid = Annotated[
    bool, typer.Option("--skip-invalid", metavar="", help="Leave out names that a cluster cannot store, and say which.")
]
CreateProject = Annotated[
    bool, typer.Option("--create-project", metavar="", help="Make the project if it does not exist.")
]
Replace = Annotated[
    bool, typer.Option("--replace", metavar="", help="Remove what the branch has there and DIR has not.")
]


def import_(
    state: State,
    directory: Directory,
    target: Target,
    message: Message = "",
    exclude: Exclude = None,
    skip_invalid: SkipInvalid = False,
    create_project: CreateProject = False,
    replace: Replace = False,
    as_json: opt.Json = False,
) -> None:
    """Put a directory tree into a repo as one commit.

    \b
    Examples:
      pachmount import ./photos images
      pachmount import ./photos images@dev -m "first selection"
      pachmount import ./2024 images:/2024 --exclude '*.tmp'
      pachmount import ./photos images --replace    make the branch equal to DIR

    The repo is made if needed. The commit appears whole or not at all. Files of the same path are
    overwritten, others stay unless --replace is given.
    """
    if not directory.is_dir():
        if directory.exists():
            raise UsageError(
                f"cannot import '{directory}'", "it is not a directory", "name the directory that it is in"
            )
        raise NotFoundError(f"cannot import '{directory}'", "no such directory", "check the path")
    names.parse_source(target)
    cluster = state.client(start=True).status().cluster
    with connecting.connect(cluster) as (client, project), output.progress(enabled=not state.quiet) as bar:
        from pachmount.pfs.upload import import_tree

        result = import_tree(
            client,
            directory,
            names.parse_source(target, project),
            description=message,
            exclude=exclude or (),
            skip_invalid=skip_invalid,
            create_project=create_project,
            replace=replace,
            progress=uploading.shown_on(bar),
        )
    if as_json:
        output.json_answer(_as_dict(result))
    else:
        _report(state, result)


def _as_dict(result: ImportResult) -> dict[str, Any]:
    repo = result.commit.repo
    return {
        "project": repo.project,
        "repo": repo.name,
        "branch": result.commit.branch,
        "commit": result.commit.id,
        "files": result.files,
        "bytes": result.bytes,
        "empty_directories": result.empty_directories,
        "skipped": [asdict(entry) for entry in result.skipped],
        "left_out": list(result.own),
        "created_repo": result.created_repo,
        "changed": result.changed,
        "finished": result.finished,
    }


def _report(state: State, result: ImportResult) -> None:
    commit = result.commit
    where = f"{commit.repo.project}/{commit.repo.name}@{commit.branch}={commit.id}"
    output.line(f"imported {output.count(result.files, 'file')} ({output.size(result.bytes)}) into {where}")
    if result.created_repo:
        state.note(f"made the repo {commit.repo.project}/{commit.repo.name}")
    if not result.changed:
        state.note("the commit has the same files as the one before it")
    if not result.finished:
        state.note("the cluster is still busy finishing the commit")
    if result.empty_directories:
        empty = output.count(result.empty_directories, "empty directory", "empty directories")
        state.note(f"left out {empty}: a repo holds only files")
    if result.own:
        state.note(output.left_out(list(result.own)))
    from pachmount.names import printable

    for entry in result.skipped[:SKIPPED_SHOWN]:
        state.note(f"skipped {printable(entry.path)}: {entry.reason}")
    if len(result.skipped) > SKIPPED_SHOWN:
        state.note(f"skipped {len(result.skipped) - SKIPPED_SHOWN:,} more (--json lists all)")
    branch = "" if commit.branch == names.DEFAULT_BRANCH else f"@{commit.branch}"
    project = "" if commit.repo.project == names.DEFAULT_PROJECT else f"{commit.repo.project}/"
    state.hint(f"'pachmount mount {project}{commit.repo.name}{branch}' shows it; 'pachmount refresh' if it is mounted")
