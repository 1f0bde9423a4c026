"""The patterns of what stays local in a mount: the defaults, the user's, and those in the mount itself."""

from __future__ import annotations

from pathlib import Path

from pachmount.errors import ConfigurationError
from pachmount.overlay.ignore import DEFAULTS, FILE_NAME, MAX_BYTES, Ignoring, patterns
from pachmount.overlay.overlay import Overlay
from pachmount.overlay.snapshot import StagedDirectory, StagedFile

_PATH = b"/" + FILE_NAME


def ignoring(taken: StagedDirectory, overlay: Overlay, own_file: Path) -> Ignoring:
    """What a snapshot leaves local. Raises ConfigurationError for patterns that cannot be used, OSError."""
    mine = patterns(_of_user(own_file), str(own_file))
    return Ignoring(DEFAULTS, mine, patterns(_in_mount(taken, overlay), f"{_PATH.decode()} of the mount"))


def _of_user(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}", error.strerror or str(error)) from error


def _in_mount(taken: StagedDirectory, overlay: Overlay) -> bytes:
    staged = taken.entries.get(FILE_NAME)
    if isinstance(staged, StagedFile):
        return overlay.bytes.head(staged, MAX_BYTES + 1)
    if FILE_NAME in taken.entries:
        return b""  # deleted, or a directory or link, which git does not read either
    node = overlay.base.find(_PATH)
    if node is None or node.is_dir:
        return b""
    return bytes(overlay.base.read(_PATH, 0, min(node.size, MAX_BYTES + 1)))
