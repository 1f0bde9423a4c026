"""One file on its way to the disk: in a temporary file beside its place, which it takes when it is complete.

The temporary file is named after the content and the place, so that an interrupted copy goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from pachmount.beneath import Spot
from pachmount.copies.disk import Seen, explained, hash_of, is_verifiable, look, time_ns
from pachmount.errors import BusyError, ConflictError, DataError
from pachmount.reading import FileInfo, Snapshot

_PIECE = 1 << 20


class Job(NamedTuple):
    """A file of a commit and where it is to be. `replaces` is what was seen there when that was decided."""

    file: FileInfo
    target: Spot
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
        if not _is_right(part, descriptor, job.file) and resumed:
            os.ftruncate(descriptor, 0)
            _append(snapshot, job.file, descriptor, 0, lambda _size: None)
        if not _is_right(part, descriptor, job.file):
            part.unlink()
            raise DataError(f"'{job.file.path}' arrived damaged", "its bytes do not match its hash", "try again")
        _place(descriptor, part, job, before)


def copy(original: Spot, has: Seen, job: Job, before: Callable[[Job, Seen], None]) -> bool:
    """The same from a file of equal content, as a clone where the file system can; False if that one was changed."""
    with explained(job.target), _part(job) as (descriptor, part):
        os.ftruncate(descriptor, 0)
        try:
            with open(original.open_file(), "rb") as source:
                _clone(source.fileno(), descriptor, job.file.size)
        except OSError:
            part.unlink()
            if look(original) == has:
                raise
            return False
        if look(original) != has or not _is_right(part, descriptor, job.file):
            part.unlink()
            return False
        _place(descriptor, part, job, before)
        return True


def place_of(job: Job) -> Spot:
    """Where the temporary file of a job is."""
    name = hashlib.sha256(f"{job.file.hash}:{job.file.size}:{job.target.name}".encode()).hexdigest()[:24]
    return job.target.beside(f".pachmount-{name}.part")


def growth(jobs: Iterable[Job]) -> int:
    """By how many bytes the files on the disk grow when these are fetched."""
    total = 0
    for job in jobs:
        begun = place_of(job).look()
        total += job.file.size - (begun.st_size if begun is not None else 0)
        total -= job.replaces.size if job.replaces is not None and job.replaces.is_file else 0
    return total


def remove_leftover(part: Spot) -> None:
    """Remove a temporary file of an earlier run, if it is one of ours and no other process works on it."""
    try:
        descriptor = part.open_file(os.O_RDWR)
    except OSError:  # it became a file of the commit; or it is something else, which is not ours to remove
        return
    try:
        if _is_ours(descriptor, part):
            part.unlink()
    finally:
        os.close(descriptor)


@contextmanager
def _part(job: Job) -> Iterator[tuple[int, Spot]]:
    """The temporary file, open and locked, made if it is not there; with its directory."""
    part = place_of(job)
    descriptor = part.open(os.O_RDWR | os.O_CREAT, make=True)
    try:
        if not _is_ours(descriptor, part):  # also if the other process has just put it in its place
            why = "by another process, or a file of another kind is in the place of the temporary one"
            raise BusyError(f"'{job.target}' is being written", why, f"wait for its end, or look at '{part}'")
        yield descriptor, part
    finally:
        os.close(descriptor)


def _is_ours(descriptor: int, part: Spot) -> bool:
    """Whether an open file is a temporary file that no other process works on, and no other name leads to it."""
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_nlink != 1:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    seen = part.look()
    return seen is not None and os.path.samestat(info, seen)


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


def _is_right(part: Spot, descriptor: int, file: FileInfo) -> bool:
    size = os.fstat(descriptor).st_size
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


def _place(descriptor: int, part: Spot, job: Job, before: Callable[[Job, Seen], None]) -> None:
    """Give the complete file its time, the mode of what it replaces, and its name."""
    if job.replaces is not None and job.replaces.is_file:
        os.fchmod(descriptor, stat.S_IMODE(job.replaces.mode))
    os.utime(descriptor, ns=(time_ns(job.file), time_ns(job.file)))
    seen = look(part)
    if seen is None or not os.path.samestat(os.fstat(descriptor), part.look() or os.fstat(descriptor)):
        raise ConflictError(f"'{part}' was taken away", "by another program", "try again")
    before(job, seen)
    if look(job.target) != job.replaces:
        raise ConflictError(f"'{job.target}' was changed meanwhile", "by another program", "look at it, and try again")
    part.rename(job.target.name)
