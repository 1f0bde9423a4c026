"""One file on its way to the disk: in a temporary file beside its place, which it takes when it is complete.

The temporary file is named after the content and the place, so that an interrupted copy goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pachmount.copies.disk import Seen, explained, hash_of, is_verifiable, look, time_ns
from pachmount.errors import BusyError, ConflictError, DataError
from pachmount.reading import FileInfo, Snapshot

_NAME = re.compile(r"\.pachmount-[0-9a-f]{24}\.part")
_PIECE = 1 << 20


class Job(NamedTuple):
    """A file of a commit and where it is to be. `replaces` is what was seen there when that was decided."""

    file: FileInfo
    target: Path
    replaces: Seen | None


def fetch(
    snapshot: Snapshot,
    job: Job,
    count: Callable[[int], None],
    before: Callable[[Job, Seen], None] = lambda _job, _seen: None,
) -> None:
    """Bring a file. `count` is told of bytes that have come; `before` what the file will be, just before it is there.

    Raises ConflictError if something else is at its place by now, BusyError if another process brings it, DataError
    for bytes that do not match the file's hash, and what reading and the disk may raise.
    """
    with explained(job.target), _part(job) as (descriptor, part):
        has = os.fstat(descriptor).st_size
        resumed = 0 < has <= job.file.size and bool(job.file.hash.strip("0"))
        if not resumed:
            os.ftruncate(descriptor, 0)
            has = 0
        count(has)
        _append(snapshot, job.file, descriptor, has, count)
        if not _is_right(part, job.file) and resumed:
            os.ftruncate(descriptor, 0)
            _append(snapshot, job.file, descriptor, 0, lambda _size: None)
        if not _is_right(part, job.file):
            os.unlink(part)
            raise DataError(f"'{job.file.path}' arrived damaged", "its bytes do not match its hash", "try again")
        _place(descriptor, part, job, before)


def copy(original: Path, has: Seen, job: Job, before: Callable[[Job, Seen], None]) -> bool:
    """The same from a file of equal content, as a clone where the file system can; False if that one was changed."""
    with explained(job.target), _part(job) as (descriptor, part):
        os.ftruncate(descriptor, 0)
        try:
            with open(os.open(original, os.O_RDONLY | os.O_NOFOLLOW), "rb") as source:
                _clone(source.fileno(), descriptor, job.file.size)
        except OSError:
            os.unlink(part)
            if look(original) == has:
                raise
            return False
        if look(original) != has or not _is_right(part, job.file):
            os.unlink(part)
            return False
        _place(descriptor, part, job, before)
        return True


def leftovers(directory: Path) -> Iterator[Path]:
    """Temporary files in a directory and below it."""
    for folder, _, names in os.walk(directory):
        yield from (Path(folder, name) for name in names if _NAME.fullmatch(name))


@contextmanager
def _part(job: Job) -> Iterator[tuple[int, Path]]:
    """The temporary file, open and locked, made if it is not there; with its directory."""
    name = hashlib.sha256(f"{job.file.hash}:{job.file.size}:{job.target.name}".encode()).hexdigest()[:24]
    path = job.target.with_name(f".pachmount-{name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = os.path.samestat(os.fstat(descriptor), os.stat(path))
        except (BlockingIOError, FileNotFoundError):
            is_ours = False
        if not is_ours:  # also if the other process has just put it in its place
            raise BusyError(f"'{job.target}' is being written", "by another process", "try again when that is done")
        yield descriptor, path
    finally:
        os.close(descriptor)


def _append(snapshot: Snapshot, file: FileInfo, descriptor: int, start: int, count: Callable[[int], None]) -> None:
    os.lseek(descriptor, start, os.SEEK_SET)
    if start < file.size:
        for piece in snapshot.pieces(file.path, start):
            _write(descriptor, piece)
            count(len(piece))


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _is_right(part: Path, file: FileInfo) -> bool:
    size = os.stat(part).st_size
    return size == file.size and (not is_verifiable(file) or hash_of(part, size) == file.hash)


def _clone(source: int, target: int, size: int) -> None:
    """Copy all bytes; on btrfs and XFS they take no room a second time."""
    done = 0
    try:
        while hasattr(os, "copy_file_range") and done < size:
            copied = os.copy_file_range(source, target, size - done, done, done)
            if not copied:
                break
            done += copied
    except OSError:  # some file systems cannot; what is copied so far is right all the same
        pass
    if done < size:
        os.lseek(source, done, os.SEEK_SET)
        os.lseek(target, done, os.SEEK_SET)
        with open(source, "rb", closefd=False) as reader, open(target, "wb", closefd=False) as writer:
            shutil.copyfileobj(reader, writer, _PIECE)


def _place(descriptor: int, part: Path, job: Job, before: Callable[[Job, Seen], None]) -> None:
    """Give the complete file its time, the mode of what it replaces, and its name."""
    if job.replaces is not None and job.replaces.is_file:
        os.fchmod(descriptor, stat.S_IMODE(job.replaces.mode))
    os.utime(part, ns=(time_ns(job.file), time_ns(job.file)))
    seen = look(part)
    assert seen is not None  # noqa: S101  # we hold it
    before(job, seen)
    if look(job.target) != job.replaces:
        raise ConflictError(f"'{job.target}' was changed meanwhile", "by another program", "look at it, and try again")
    os.replace(part, job.target)
