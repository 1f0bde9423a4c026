"""`context list|use|show`: the clusters that pachctl's file knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.account import Keep
from pachmount.cli.app import App
from pachmount.cli.state import State
from pachmount.errors import ClusterUnreachableError, NotFoundError

if TYPE_CHECKING:
    from pachmount.pfs.contexts import ContextFile

Name = Annotated[str, typer.Argument(metavar="CONTEXT", help="The context.", show_default=False)]
OptionalName = Annotated[
    str | None, typer.Argument(metavar="CONTEXT", help="The context. Default: the one in use.", show_default=False)
]


def build() -> App:
    """The commands of the group."""
    app = App(help="The clusters that pachctl's file knows, and which one is used.")
    app.add(list_, "list", uses_daemon=False)
    app.add(use, "use")
    app.add(show, "show", uses_daemon=False)
    return app


def list_(state: State, as_json: opt.Json = False) -> None:
    """List the contexts; a star marks the one in use.

    \b
    Examples:
      pachmount context list
    """
    from pachmount.pfs.contexts import ContextFile

    file = ContextFile.load()
    active = file.active().name
    rows = [_row(file, name, active) for name in file.names()]
    if as_json:
        output.json_answer(rows)
    elif rows:
        for row in rows:
            login = ", logged in" if row["has_token"] else ""
            output.line(f"{'*' if row['active'] else ' '} {row['name']}  {row['address']}{login}")
    else:
        state.note(f"{file.path} has no contexts: the embedded server is used")


def show(state: State, name: OptionalName = None, as_json: opt.Json = False) -> None:
    """Show a context, without its token.

    \b
    Examples:
      pachmount context show
    """
    from pachmount.pfs.contexts import ContextFile

    file = ContextFile.load()
    active = file.active().name
    wanted = name or active
    if not wanted:
        state.note(f"{file.path} has no contexts: the embedded server is used")
        return
    row = _row(file, wanted, active)
    if as_json:
        output.json_answer(row)
        return
    for key, value in row.items():
        text = ("yes" if value else "no") if isinstance(value, bool) else value
        output.line(f"{key.replace('_', ' ')}: {text}")


def use(state: State, name: Name, keep: Keep = False) -> None:
    """Use another context from now on, as pachctl does then, too.

    \b
    Examples:
      pachmount context use production

    Mounts of the former cluster end, after what is staged in them was committed.
    """
    from pachmount.api.schema import ConfigRequest
    from pachmount.pfs.contexts import ContextFile

    context = ContextFile.load().get(name)
    client = state.client(start=True)
    client.configure(ConfigRequest(context=name, staged="keep" if keep else "commit"))
    cluster = client.status().cluster
    if cluster.state != "connected":
        why = (cluster.error.why or cluster.error.error) if cluster.error else "it does not answer"
        raise ClusterUnreachableError(f"cannot connect to '{context.address}'", why, "pachmount doctor")
    output.line(f"using context '{name}': {_place(context.address)}")
    if cluster.auth == "logged-out":
        state.hint("not logged in there: pachmount login")


def _place(address: str) -> str:
    return address or "the embedded server"


def _row(file: ContextFile, name: str, active: str) -> dict[str, str | bool]:
    try:
        context = file.get(name)
    except NotFoundError as error:
        error.hint = "pachmount context list"
        raise
    return {
        "name": name,
        "active": name == active,
        "address": _place(context.address),
        "project": context.project,
        "has_certificate": bool(context.server_cas),
        "has_token": bool(context.session_token),
    }
