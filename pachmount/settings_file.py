"""The user's settings file: where each setting comes from, and changing one without losing comments."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError

from pachmount import settings
from pachmount.errors import ConfigurationError
from pachmount.files import replace_text
from pachmount.paths import make_dirs
from pachmount.settings import ENV_PREFIX, Settings


@dataclass(frozen=True)
class Setting:
    """One setting in force. `source` is "default", the name of a variable, or the path of the file."""

    name: str
    value: Any
    source: str
    description: str


def in_force() -> list[Setting]:
    """Every setting with its value and where that comes from. Raises ConfigurationError."""
    loaded = settings.load()
    in_file = read()
    path = str(settings.file_path())
    found = []
    for name, field in Settings.model_fields.items():
        variable = f"{ENV_PREFIX}{name.upper()}"
        source = variable if variable in os.environ else path if name in in_file else "default"
        found.append(Setting(name, getattr(loaded, name), source, field.description or ""))
    return found


def read() -> tomlkit.TOMLDocument:
    """What the file says, with its comments; empty if there is none. Raises ConfigurationError."""
    path = settings.file_path()
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return tomlkit.document()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise ConfigurationError(f"cannot read '{path}'", why, settings.EDIT_HINT) from error


def change(name: str, text: str) -> Any:
    """Set a setting in the file to what `text` says, if it is valid; returns its value. Raises ConfigurationError."""
    _check_name(name)
    value = _value(name, text)
    document = read()
    document[name] = value
    try:
        checked = Settings.model_validate({**document.unwrap(), name: value})
    except ValidationError as error:
        raise settings.invalid(error, {name: value}) from error
    _write(document)
    return getattr(checked, name)


def remove(name: str) -> bool:
    """Take a setting out of the file; whether it was there. Raises ConfigurationError."""
    document = read()
    if name not in document:
        _check_name(name)
        return False
    del document[name]
    _write(document)
    return True


def _check_name(name: str) -> None:
    if name not in Settings.model_fields:
        raise settings.unknown(name)


def _value(name: str, text: str) -> Any:
    """The value as TOML has it: numbers and truth values bare, everything else as it was typed."""
    kind = Settings.model_fields[name].annotation
    if kind is bool and text.lower() in ("true", "false", "yes", "no", "on", "off"):
        return text.lower() in ("true", "yes", "on")
    if kind in (int, float):
        for number in (int, float):
            try:
                return number(text)
            except ValueError:
                continue
    return text


def _write(document: tomlkit.TOMLDocument) -> None:
    """Replace the file as a whole, or where a link leads; never leave half of it."""
    path = Path(os.path.realpath(settings.file_path()))
    try:
        make_dirs(path.parent)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        replace_text(path, tomlkit.dumps(document), mode)
    except OSError as error:
        hint = "a PACHMOUNT_* variable has the same effect, such as PACHMOUNT_LOG_LEVEL=debug"
        why = f"{error.strerror or error}; nothing was changed"
        raise ConfigurationError(f"cannot write '{path}'", why, hint) from error
