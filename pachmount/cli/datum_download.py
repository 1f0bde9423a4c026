"""`datum download`: the files of a datum as copies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pachmount import connecting
from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.state import State
from pachmount.errors import UsageError

Which = Annotated[str, typer.Argument(metavar="N|ID", help="The datum, by number (from 0) or id.")]
Spec = Annotated[
    str, typer.Argument(metavar="SPEC", help="A pipeline's spec, or only its input: YAML or JSON; '-': stdin.")
]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A directory that is new or empty.")]


def download(state: State, which: Which, spec: Spec, directory: Directory, as_json: opt.Json = False) -> None:
    """Copy the files of a datum, without a mount.

    \b
    Examples:
      pachmount datum download 7 edges.yaml ./seven     as ./seven/INPUT/PATH
      pachmount datum download 2e455f2c edges.yaml ./it

    The files are those that a pipeline would have at /pfs for that datum.
    """
    from pachmount.cli.specs import forming, read_spec
    from pachmount.datums.model import leaves
    from pachmount.mounts.datum_source import DatumSource, FormedHere
    from pachmount.running import choose
    from pachmount.running import download as downloading

    read = read_spec(spec)
    directory = directory.absolute()
    if not downloading.check_target(directory):
        raise UsageError(f"cannot write to '{directory}'", "it is not an empty directory", "name one that is not there")
    cluster = state.client(start=True).status().cluster
    with connecting.connect(cluster) as (client, project), output.progress(enabled=not state.quiet) as bar:
        source = read.source(project)
        empty = {(leaf.directory, leaf.repo) for leaf in leaves(source) if leaf.empty_files}
        found = DatumSource(client, source, how=forming()).search()
        datums = found if isinstance(found, FormedHere) else [datum for batch in found for datum in batch.datums]
        [chosen] = choose.choose(datums, [which])
        total = sum(file.size_bytes for file in chosen.datum.files)

        def show(files: int, size: int) -> None:
            bar.update(f"{output.count(files, 'file')}, {output.size(size)}", size, max(total, 1))

        files, size = downloading.download(
            client, chosen.datum, directory, lambda file: (file.input, file.repo) in empty, show
        )
    if as_json:
        answer = {"index": chosen.index, "id": chosen.datum.id, "directory": str(directory)}
        output.json_answer({**answer, "files": files, "bytes": size})
    else:
        output.line(f"datum {chosen.index}: {output.count(files, 'file')} ({output.size(size)}) in {directory}")
