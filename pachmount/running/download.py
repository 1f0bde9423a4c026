"""The files of a datum as copies, read from the cluster without a mount."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pachmount.beneath import Beneath, UnsafePathError
from pachmount.datums.model import Datum, DatumFile
from pachmount.errors import DataError
from pachmount.pfs.content import ContentStream
from pachmount.pfs.model import CommitRef, RepoRef
from pachmount.running.filling import filling
from pachmount.running.merge import cannot_write

if TYPE_CHECKING:
    from pachmount.pfs.client import PfsClient

_PIECE = 1 << 20

Progress = Callable[[int, int], None]
"""Told how many files and bytes are there."""


def download(
    client: PfsClient, datum: Datum, directory: Path, is_empty: Callable[[DatumFile], bool], progress: Progress
) -> tuple[int, int]:
    """Make `directory`, which is new or empty, with the datum's files below `directory/INPUT`: all or nothing.

    Of files that `is_empty` says so there are only the names. Gives the numbers of files and bytes. Raises DataError,
    what `cannot_write` makes, and what the connection may raise.
    """
    try:
        with filling(directory) as new:
            copy = _Copy(client, new.tree, progress)
            for file in datum.files:
                if is_empty(file):
                    copy.names(file)
                else:
                    copy.content(file)
            new.put()
    except tarfile.TarError as error:
        raise DataError("the cluster sent a damaged archive", str(error)) from error
    except OSError as error:
        raise cannot_write(directory, error) from error
    return copy.files, copy.bytes


class _Copy:
    """A directory that gets the files of datums, and how many it has."""

    def __init__(self, client: PfsClient, directory: Beneath, progress: Progress) -> None:
        self._client = client
        self._directory = directory
        self._progress = progress
        self.files = 0
        self.bytes = 0

    def content(self, file: DatumFile) -> None:
        """Copy a file, or a directory with all that is below it."""
        before = self.bytes
        stream = self._client.open_tar(_commit_of(file), file.path)
        try:
            with tarfile.open(fileobj=io.BufferedReader(_Raw(stream), _PIECE), mode="r|") as archive:
                for member in archive:
                    content = archive.extractfile(member) if member.isfile() else None
                    if content is not None:
                        with self._opened(file, member.name) as target:
                            shutil.copyfileobj(content, target, _PIECE)
                        self._count(member.size)
        finally:
            stream.cancel()
        if self.bytes - before != file.size_bytes:
            why = f"it has {file.size_bytes} bytes, {self.bytes - before} of them came"
            raise DataError(f"'{file.path}' of {file.repo} did not come as a whole", why, "try again")

    def names(self, file: DatumFile) -> None:
        """Make empty files of the same names."""
        for entry in self._client.walk(_commit_of(file), file.path):
            if not entry.is_dir:
                self._opened(file, entry.path).close()
                self._count(0)

    def _opened(self, file: DatumFile, path: str) -> IO[bytes]:
        """A file of the repo, to be written."""
        try:
            spot = self._directory.at("/".join([file.input, *filter(None, path.split("/"))]))
            if spot.path == file.input:
                raise UnsafePathError("it has no name")
        except UnsafePathError as error:
            raise DataError("the cluster sent a file that no disk can have", str(error)) from error
        return open(spot.open(os.O_WRONLY | os.O_CREAT | os.O_TRUNC, make=True), "wb")

    def _count(self, size: int) -> None:
        self.files += 1
        self.bytes += size
        self._progress(self.files, self.bytes)


class _Raw(io.RawIOBase):
    """A stream of content as a file of Python's."""

    def __init__(self, stream: ContentStream) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._stream.readinto(memoryview(buffer))


def _commit_of(file: DatumFile) -> CommitRef:
    return CommitRef(RepoRef(file.project, file.repo), file.commit, file.branch)


def check_target(directory: Path) -> bool:
    """Whether a datum can be put there: a directory that is empty, or not there yet."""
    return not os.path.lexists(directory) or (
        directory.is_dir() and not directory.is_symlink() and not any(directory.iterdir())
    )
