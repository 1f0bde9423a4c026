"""The patterns of what stays local in a mount: the defaults, the user's, and those in the mount itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pachmount.errors import ConfigurationError
from pachmount.overlay.ignore import DEFAULTS, FILE_NAME, MAX_BYTES, Ignoring, patterns
from pachmount.overlay.names import Base
from pachmount.overlay.snapshot import StagedDirectory, StagedFile

_PATH = b"/" + FILE_NAME
Head = Callable[[StagedFile, int], bytes]
"""Gives the first bytes of a staged file."""


def ignoring(taken: StagedDirectory, base: Base | None, head: Head, own_file: Path) -> Ignoring:
    """What a snapshot leaves local; without its commit (`base`), as far as that is known.

    Raises ConfigurationError for patterns that cannot be used, OSError.
    """
    mine = patterns(_of_user(own_file), str(own_file))
    return Ignoring(DEFAULTS, mine, patterns(_in_mount(taken, base, head), f"{_PATH.decode()} of the mount"))


def _of_user(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}", error.strerror or str(error)) from error


def _in_mount(taken: StagedDirectory, base: Base | None, head: Head) -> bytes:
    staged = taken.entries.get(FILE_NAME)
    if isinstance(staged, StagedFile):
        return head(staged, MAX_BYTES + 1)
    if FILE_NAME in taken.entries:
        return b""  # deleted, or a directory or link, which git does not read either
    node = None if base is None else base.find(_PATH)
    if base is None or node is None or node.is_dir:
        return b""
    return bytes(base.read(_PATH, 0, min(node.size, MAX_BYTES + 1)))
