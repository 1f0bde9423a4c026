"""`config show|set|unset|path`: the settings, where they come from, and changing them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.app import App
from pachmount.cli.state import State
from pachmount.errors import DaemonNotRunningError, PachmountError

Name = Annotated[str, typer.Argument(metavar="SETTING", help="Its name, such as cache_size.", show_default=False)]
OptionalName = Annotated[str | None, typer.Argument(metavar="SETTING", help="Only this one.", show_default=False)]
Value = Annotated[str, typer.Argument(metavar="VALUE", help="Sizes as 50G, times in seconds.", show_default=False)]


def build() -> App:
    """The commands of the group."""
    app = App(help="Look at the settings and change them.")
    app.add(show, "show", uses_daemon=False)
    app.add(set_, "set")
    app.add(unset, "unset")
    app.add(path, "path", uses_daemon=False)
    return app


def show(state: State, name: OptionalName = None, as_json: opt.Json = False) -> None:
    """Show each setting, its value and where that comes from.

    \b
    Examples:
      pachmount config show
      pachmount config show cache_size
      pachmount config show --json | jq '.[] | select(.source != "default")'

    Flags come before PACHMOUNT_* variables, these before the settings file, and that before the defaults. With one
    SETTING only its value is printed.
    """
    from pachmount import settings, settings_file

    found = settings_file.in_force()
    if name is not None:
        found = [setting for setting in found if setting.name == name]
        if not found:
            raise settings.unknown(name)
    if as_json:
        rows = [
            {"name": one.name, "value": _json(one.value), "source": one.source, "description": one.description}
            for one in found
        ]
        output.json_answer(rows if name is None else rows[0])
    elif name is not None:
        output.line(setting_text(name, found[0].value))
    else:
        cells = [[one.name, setting_text(one.name, one.value), one.source, one.description] for one in found]
        output.table(["SETTING", "VALUE", "FROM", ""], cells)
        for variable, near in settings.unread_variables():
            why = f" — did you mean {near}?" if near else ""
            state.note(f"{variable} is no setting{why}")


def set_(state: State, name: Name, value: Value) -> None:
    """Change a setting in the settings file.

    \b
    Examples:
      pachmount config set cache_size 50G
      pachmount config set log_level debug

    What else is in the file stays, comments too. A daemon that runs learns of it by
    'pachmount daemon reload'.
    """
    from pachmount import settings_file

    new = settings_file.change(name, value)
    output.line(f"{name} = {setting_text(name, new)}")
    _tell_daemon(state)


def unset(state: State, name: Name) -> None:
    """Take a setting out of the settings file, so that its default holds.

    \b
    Examples:
      pachmount config unset cache_size
    """
    from pachmount import settings, settings_file

    if not settings_file.remove(name):
        state.note(f"{settings.file_path()} says nothing about {name}")
        return
    output.line(f"{name} is not set any more")
    _tell_daemon(state)


def path(state: State) -> None:  # noqa: ARG001 (every command takes it)
    """Print where the settings file is, or would be.

    \b
    Examples:
      "$EDITOR" "$(pachmount config path)"
    """
    from pachmount import settings

    output.line(str(settings.file_path()))


def _tell_daemon(state: State) -> None:
    try:
        state.client().health()
    except DaemonNotRunningError:
        return
    except PachmountError as error:
        state.note(str(error))
        return
    state.hint("'pachmount daemon reload' lets the daemon that runs know")


def _json(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def setting_text(name: str, value: Any) -> str:
    """A setting's value for people."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if name.endswith("_size") or name == "read_ahead":
        return output.size(value)
    return str(value)
