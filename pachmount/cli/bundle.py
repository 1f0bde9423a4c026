"""What a bug report needs, collected and packed: with a daemon or without, never a token, never content of files."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import platform
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pachmount import __version__, paths
from pachmount.cli import doctor, output
from pachmount.cli.state import State
from pachmount.cli.status_view import stopped
from pachmount.errors import AlreadyExistsError, ConfigurationError, DaemonNotRunningError, PachmountError

MAX_LOG_BYTES = 1 << 20
"""How much of the end of a log is taken."""
VARIABLES = ("PACHMOUNT_", "PFS_", "PACH_", "PACHD_", "XDG_", "SIDECAR_", "DEFAULT_SCHEMA", "FUSE_", "DEX_")
SECRET_VARIABLES = ("PACHMOUNT_TOKEN", "DEX_TOKEN")
MASK = "[secret]"
MIN_SECRET = 8
"""Shorter ones are no tokens, and would be found in every other word."""


def collect(state: State) -> dict[str, str]:
    """The parts of a bundle: texts by file name. What cannot be had says why instead."""
    places = state.places
    parts: dict[str, Callable[[], str]] = {
        "versions.json": lambda: _json(_versions()),
        "settings.json": lambda: _json(_settings()),
        "environment.json": lambda: _json(_environment()),
        "context.json": lambda: _json(_context()),
        "status.json": lambda: _json(_status(state)),
        "stats.json": lambda: _json(output.plain(state.client().stats())),
        "doctor.json": lambda: _json([doctor.as_dict(check) for check in doctor.all_checks(state)]),
        "mountinfo.txt": lambda: Path("/proc/self/mountinfo").read_text(errors="replace"),
        "daemon.log": lambda: _tail(places.log_file),
        "daemon.stderr": lambda: _tail(places.log_file.with_name("daemon.stderr")),
        "localpfs.log": lambda: _tail(places.log_file.with_name("localpfs.log")),
    }
    secrets = _secrets(places)
    return {name: masked(_text_of(part), secrets) for name, part in parts.items()}


def write(path: Path, parts: Mapping[str, str]) -> None:
    """Pack the parts into a new file that only this user can read, whole or not at all.

    Raises AlreadyExistsError, ConfigurationError, OSError for a full disk.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise AlreadyExistsError(f"cannot write '{path}'", "it exists already", "name another file") from error
    except OSError as error:
        raise ConfigurationError(f"cannot write '{path}'", error.strerror or str(error)) from error
    try:
        with open(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, text in parts.items():
                data = text.encode(errors="backslashreplace")
                entry = tarfile.TarInfo(f"pachmount-debug/{name}")
                entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
                archive.addfile(entry, io.BytesIO(data))
    except BaseException as error:
        path.unlink()
        if isinstance(error, OSError):
            error.filename = str(path)
        raise


def masked(text: str, secrets: set[str]) -> str:
    """The text without any of the secrets, wherever they stand in it."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _text_of(part: Callable[[], str]) -> str:
    try:
        return part()
    except (PachmountError, OSError) as error:
        return f"not to be had: {error}\n"


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _versions() -> dict[str, Any]:
    wanted = ["fusepy", "mfusepy", "grpcio", "protobuf", "pydantic", "pydantic-settings", "tornado", "typer", "rich"]
    return {
        "pachmount": __version__,
        "python": sys.version,
        "kernel": platform.platform(),
        "user": os.geteuid(),
        "packages": {name: version for name in wanted if (version := _version(name))},
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _settings() -> list[dict[str, Any]]:
    from pachmount import settings_file

    return [{"name": each.name, "value": str(each.value), "from": each.source} for each in settings_file.in_force()]


def _environment() -> dict[str, str]:
    chosen = {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)}
    return {name: MASK if name in SECRET_VARIABLES else value for name, value in sorted(chosen.items())}


def _context() -> dict[str, Any]:
    from pachmount.pfs.contexts import ContextFile

    file = ContextFile.load()
    active = file.active()
    return {
        "file": str(file.path),
        "contexts": file.names(),
        "active": active.name,
        "address": active.address,
        "project": active.project,
        "has_token": bool(active.session_token),
        "has_certificates": bool(active.server_cas),
    }


def _status(state: State) -> Any:
    try:
        return output.plain(state.client().status())
    except DaemonNotRunningError:
        return stopped(state)


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MAX_LOG_BYTES))
            return file.read(MAX_LOG_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _secrets(places: paths.Places) -> set[str]:
    """Every token that this user could have put somewhere: of all contexts, of the REST API, of the environment."""
    from pachmount.pfs.contexts import ContextFile

    found = {os.environ.get(name, "") for name in SECRET_VARIABLES}
    token_files = [places.token_file]
    if named := os.environ.get("PACHMOUNT_TOKEN_FILE"):
        token_files.append(Path(named))
    try:
        from pachmount import settings

        token_files += [file for file in [settings.load().token_file] if file]
    except ConfigurationError:
        pass  # the part about the settings says so
    for file in token_files:
        found.add(_text_of(lambda file=file: _tail(file)).strip())  # type: ignore[misc]
    try:
        contexts = ContextFile.load()
        found |= {contexts.get(name).session_token for name in contexts.names()}
    except PachmountError:
        pass  # the part about the context says so
    return {secret for secret in found if len(secret) >= MIN_SECRET}
