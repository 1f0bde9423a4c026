"""The file that remembers what is mounted, so that a new daemon mounts it again."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from pachmount.mounts.mount import MountSpec
from pachmount.paths import make_private_dir

log = logging.getLogger(__name__)


class MountStore:
    """A JSON file, replaced atomically at each change."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[MountSpec]:
        """What was mounted; a damaged file is set aside, and said so in the log."""
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        try:
            return [MountSpec.from_dict(data) for data in json.loads(text)["mounts"]]
        except (ValueError, KeyError, TypeError) as error:
            aside = self._path.with_suffix(".damaged")
            self._path.replace(aside)
            log.warning("the list of mounts was damaged (%s) and is now %s", error, aside)
            return []

    def save(self, specs: Iterable[MountSpec]) -> None:
        """Remember these mounts; durable when it returns."""
        make_private_dir(self._path.parent)
        temporary = self._path.with_suffix(".new")
        text = json.dumps({"mounts": [spec.to_dict() for spec in specs]}, indent=1)
        with open(temporary, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
