"""Output as a commit can hold it: files and directories, in which links have become what they pointed to."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path


class OutputError(Exception):
    """The output has what cannot be stored."""


Copy = Callable[[Path, Path], None]
"""Make a file at the second path that is equal to the one at the first."""


def follow_links(out: Path, copy: Copy = shutil.copyfile) -> None:  # type: ignore[assignment]
    """Put copies in the place of symbolic links. Raises OutputError, and OSError."""
    for path in list(_links(out)):
        shown = path.relative_to(out)
        try:
            real = Path(os.path.realpath(path, strict=True))
        except OSError as error:
            why = f"link '{shown}' leads nowhere: {os.readlink(path)}"
            raise OutputError(f"{why} ({error.strerror or error})") from error
        if path.is_relative_to(real):
            raise OutputError(f"link '{shown}' leads to a directory above it")
        path.unlink()
        _copy(real, path, shown, (), copy)


def _links(out: Path) -> Iterator[Path]:
    for directory, directories, files in os.walk(out, onerror=_raise):
        for name in (*directories, *files):
            path = Path(directory, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                yield path
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise OutputError(f"'{path.relative_to(out)}' is no file: a pipe, socket or device cannot be stored")


def _copy(source: Path, target: Path, shown: Path, above: tuple[tuple[int, int], ...], copy: Copy) -> None:
    try:
        status = source.stat()
    except FileNotFoundError as error:
        raise OutputError(f"link '{shown}' leads to a link that leads nowhere: {source}") from error
    identity = status.st_dev, status.st_ino
    if stat.S_ISREG(status.st_mode):
        copy(source, target)
    elif not stat.S_ISDIR(status.st_mode):
        raise OutputError(f"link '{shown}' leads to no file: {source}")
    elif identity in above:
        raise OutputError(f"link '{shown}' leads to a directory with a link to itself: {source}")
    else:
        target.mkdir()
        for name in sorted(os.listdir(source)):
            _copy(source / name, target / name, shown, (*above, identity), copy)


def _raise(error: OSError) -> None:
    raise error
