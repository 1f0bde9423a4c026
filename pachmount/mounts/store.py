"""The file that remembers what is mounted, so that a new daemon mounts it again."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pachmount.errors import ConfigurationError
from pachmount.files import put_aside, text_that_counts
from pachmount.mounts.mount import MountSpec
from pachmount.paths import make_private_dir

log = logging.getLogger(__name__)


class MountStore:
    """A JSON file, replaced atomically at each change; where that cannot be done, by what else can be written.

    `aside` is on another disk, mostly: a table there counts instead of the very file that could not be replaced.
    """

    def __init__(self, path: Path, aside: Path | None = None) -> None:
        self._path = path
        self._aside = aside

    def load(self) -> list[MountSpec]:
        """What was mounted; a damaged file is set aside, and said so in the log."""
        text = text_that_counts(self._path, self._aside)
        if not text and not self._path.exists():
            return []
        try:
            return [MountSpec.from_dict(data) for data in json.loads(text)["mounts"]]
        except (ValueError, KeyError, TypeError) as error:
            aside = self._path.with_suffix(".damaged")
            self._path.replace(aside)
            log.warning("the list of mounts was damaged (%s) and is now %s", error, aside)
            return []

    def save(self, specs: Iterable[MountSpec]) -> None:
        """Remember these mounts; durable when it returns. Raises OSError or ConfigurationError if that cannot be."""
        text = json.dumps({"mounts": [spec.to_dict() for spec in specs]}, indent=1)
        try:
            make_private_dir(self._path.parent)
            self._replace(text)
        except (OSError, ConfigurationError):
            if not (self._overwrite(text) or self._put_aside(text)):
                raise
        else:
            if self._aside is not None:
                with suppress(OSError):
                    self._aside.unlink(missing_ok=True)

    def _replace(self, text: str) -> None:
        temporary = self._path.with_suffix(".new")
        try:
            with open(temporary, "w", encoding="utf-8", opener=_private) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def _overwrite(self, text: str) -> bool:
        """Write a table that is no longer than the file into the file: a full disk has room for that."""
        data = text.encode()
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            size = os.fstat(descriptor).st_size
            if len(data) > size or os.pwrite(descriptor, data.ljust(size), 0) != size:
                return False
            os.fsync(descriptor)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _put_aside(self, text: str) -> bool:
        if self._aside is None:
            return False
        try:
            put_aside(self._path, self._aside, text)
        except OSError:
            return False
        return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
