"""`lost+found`: where a store keeps what it cannot use. Nothing in it is ever removed by the program."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from pachmount.files import sync_directory

NAME = "lost+found"


class LostAndFound:
    """One directory `lost+found/<time>` of a store, made when the first thing is moved there. Raises OSError."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self._directory: Path | None = None

    @property
    def directory(self) -> Path | None:
        """Where things were moved to; None if nothing was."""
        return self._directory

    def everything(self) -> list[Path]:
        """All that was ever moved there."""
        return sorted((self.store / NAME).rglob("*"))

    def take(self, path: Path) -> Path | None:
        """Move a file or directory of the store there; where it is now, or None if there is no such file."""
        if not os.path.lexists(path):
            return None
        target = self._free(path.name)
        os.rename(path, target)
        sync_directory(target.parent)
        sync_directory(path.parent)
        return target

    def copy_tail(self, path: Path, offset: int) -> Path:
        """Keep a copy of what a file has from `offset` on."""
        target = self._free(f"{path.name}.from-byte-{offset}")
        with open(path, "rb") as source, open(target, "xb") as copy:
            source.seek(offset)
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
        sync_directory(target.parent)
        return target

    def keep(self, name: str, data: bytes) -> Path:
        """Write bytes there that would be lost otherwise."""
        target = self._free(name)
        with open(target, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(target.parent)
        return target

    def _free(self, name: str) -> Path:
        if self._directory is None:
            self._directory = self._made()
        target = self._directory / name
        number = 1
        while os.path.lexists(target):
            number += 1
            target = self._directory / f"{name}.{number}"
        return target

    def _made(self) -> Path:
        above = self.store / NAME
        above.mkdir(mode=0o700, exist_ok=True)
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime())
        for number in range(1, 10_000):
            directory = above / (stamp if number == 1 else f"{stamp}.{number}")
            try:
                directory.mkdir(mode=0o700)
            except FileExistsError:
                continue
            sync_directory(above)
            sync_directory(self.store)
            return directory
        raise FileExistsError(str(above))
