"""The file that remembers what is mounted, so that a new daemon mounts it again."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pachmount.beneath import Beneath
from pachmount.documents import MOUNTS, DamagedError, Document, decode, encode, parsed
from pachmount.errors import ConfigurationError
from pachmount.files import put_aside, text_aside
from pachmount.mounts.mount import MountSpec
from pachmount.paths import make_private_dir

log = logging.getLogger(__name__)

MAX_MOUNTS = 10_000


class MountStore:
    """A document (documents.py), replaced at each change; where that cannot be done, by what else can be written.

    `aside` is on another disk, mostly: a table there counts instead of the very file that could not be replaced.
    """

    def __init__(self, path: Path, aside: Path | None = None) -> None:
        self._path = path
        self._aside = aside

    def load(self) -> list[MountSpec]:
        """What was mounted. A damaged file is set aside, and its copy is used; the log and `status` tell of it.

        Raises ConfigurationError if it cannot be set aside: what it has would be lost with the next change.
        """
        try:
            text = text_aside(self._path, self._aside, MOUNTS.limit)
            if text is not None:
                with suppress(DamagedError):  # then the file itself counts
                    return parsed(_specs, decode(MOUNTS, text.encode(errors="surrogateescape")))
            if not self._path.parent.is_dir():
                return []
            with Beneath(self._path.parent) as directory:
                return self._load(Document(directory, self._path.stem, MOUNTS))
        except OSError as error:
            hint = "pachmount doctor"
            raise ConfigurationError(f"cannot use '{self._path}'", error.strerror or str(error), hint) from error

    def save(self, specs: Iterable[MountSpec]) -> None:
        """Remember these mounts; durable when it returns. Raises OSError or ConfigurationError if that cannot be."""
        content = {"mounts": [spec.to_dict() for spec in specs]}
        try:
            make_private_dir(self._path.parent)
            self._replace(content)
        except (OSError, ConfigurationError):
            data = encode(MOUNTS, content)
            if not (self._overwrite(data) or self._put_aside(data.decode(errors="surrogateescape"))):
                raise
        else:
            if self._aside is not None:
                with suppress(OSError):
                    self._aside.unlink(missing_ok=True)

    def _load(self, document: Document) -> list[MountSpec]:
        try:
            found = document.read(_specs)
        except DamagedError as error:
            aside = ", ".join(document.set_aside())
            log.warning("the list of mounts was damaged (%s) and is now %s: nothing is mounted again", error, aside)
            return []
        if found is None:
            return []
        specs, how = found
        if how.is_copy:
            aside = document.set_first_aside() if how.damage else ""
            what = f"damaged ({how.damage}) and is now {aside}" if how.damage else "missing"
            log.warning("the list of mounts was %s; its copy is used", what)
        return specs

    def _replace(self, content: dict[str, Any]) -> None:
        with Beneath(self._path.parent) as directory:
            Document(directory, self._path.stem, MOUNTS).write(content)

    def _overwrite(self, data: bytes) -> bool:
        """Write a table that is no longer than the file into the file: a full disk has room for that."""
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


def _specs(content: dict[str, Any]) -> list[MountSpec]:
    mounts = content["mounts"]
    if type(mounts) is not list or len(mounts) > MAX_MOUNTS:
        raise TypeError("it has no list of mounts")
    specs = [MountSpec.from_dict(data) for data in mounts]
    if len({spec.name for spec in specs}) < len(specs):
        raise ValueError("it has a name of a mount twice")
    return specs
