"""Files of a commit, copied once: `pachmount get`. What is there already is not fetched again, nor replaced."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pachmount.beneath import Beneath, Spot
from pachmount.copies import part, workers
from pachmount.copies.disk import Seen, explained, has_content, look, require_room
from pachmount.copies.part import Job
from pachmount.copies.plan import refused
from pachmount.errors import AlreadyExistsError, InvalidPathError
from pachmount.reading import FileInfo, Snapshot

Show = Callable[[int, int, int, int], None]
"""Told how many files and bytes there are: done, all, done, all."""
_SHOWN = 5


@dataclass(frozen=True)
class Got:
    """What was asked for, and how much of it was there before."""

    files: int
    bytes: int
    found_files: int
    found_bytes: int


def get(snapshot: Snapshot, directory: Path, wanted: Mapping[str, FileInfo], *, force: bool, show: Show) -> Got:
    """Have files at their paths below a directory, which is made if need be; no link leads out of it.

    An interrupted one goes on where it stopped. Without `force` nothing is replaced: raises
    AlreadyExistsError before anything is fetched if other files are there.
    Raises InvalidPathError for names that the disk cannot store, and what the daemon and the disk may raise.
    """
    _check_names(directory, wanted)
    with explained(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with Beneath(directory) as top:
            return _get(snapshot, top, wanted, force=force, show=show)


def _get(snapshot: Snapshot, top: Beneath, wanted: Mapping[str, FileInfo], *, force: bool, show: Show) -> Got:
    jobs: list[Job] = []
    found: list[FileInfo] = []
    other: list[Spot] = []
    for path, file in wanted.items():
        target = top.at(path)
        with explained(target):
            seen = look(target)
            if seen is not None and has_content(target, seen, file):
                found.append(file)
                continue
            if seen is not None and not (force and _is_replaceable(target, seen)):
                other.append(target)
            jobs.append(Job(file, target, seen))
    if other:
        shown = ", ".join(f"'{target}'" for target in other[:_SHOWN])
        more = f", and {len(other) - _SHOWN:,} more" if len(other) > _SHOWN else ""
        what = "a directory or a device is there" if force else "there is something else"
        hint = "name another place" if force else "--force replaces files, or name another place"
        raise AlreadyExistsError(f"cannot write {shown}{more}", f"{what}; nothing was fetched", hint)
    require_room(top.directory, part.growth(jobs))
    size = sum(file.size for file in wanted.values())
    tally = workers.Tally(lambda done, number: show(done, len(wanted), number, size))
    for file in found:
        tally.count_bytes(file.size)
        tally.count_file()

    def fetch(job: Job) -> None:
        part.fetch(snapshot, job, tally.count_bytes)
        tally.count_file()

    workers.each(fetch, jobs, tally)
    return Got(len(wanted), size, len(found), sum(file.size for file in found))


def _is_replaceable(target: Spot, seen: Seen) -> bool:
    """Whether it is a file, or a link to a file or to nothing: then the link is replaced."""
    path = str(target)
    return seen.is_file or (stat.S_ISLNK(seen.mode) and (os.path.isfile(path) or not os.path.exists(path)))


def _check_names(directory: Path, wanted: Mapping[str, FileInfo]) -> None:
    existing = directory
    while not existing.exists():
        existing = existing.parent
    with explained(existing):
        longest = os.pathconf(existing, "PC_NAME_MAX")
    for path, file in wanted.items():
        for why in refused([file.path[1:], path], longest, is_folding=False).values():
            raise InvalidPathError(f"this disk cannot hold '{file.path}'", f"{why}; nothing was fetched")
