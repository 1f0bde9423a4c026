"""What has to be done to make a directory hold the files of a commit, and what keeps us from it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pachmount import own_files
from pachmount.beneath import Beneath, Spot
from pachmount.copies.disk import Seen, has_content, hash_of, look
from pachmount.copies.part import Job
from pachmount.copies.state import STATE, Checkout, Kept
from pachmount.reading import FileInfo
from pachmount.vfs.hashes import VERIFIABLE_BYTES


@dataclass
class Plan:
    """`here` are files that are there already, `bring` those to fetch, `remove` those that went away (with what was
    seen there). `changed` are local files that would be lost, `in_the_way` what is never removed, each with the reason.
    """

    here: dict[str, Kept] = field(default_factory=dict)
    bring: list[Job] = field(default_factory=list)
    remove: dict[str, Seen] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    in_the_way: dict[str, str] = field(default_factory=dict)


def make_plan(checkout: Checkout, wanted: dict[str, FileInfo]) -> Plan:
    """Compare the files that are wanted, by path, with the directory. It changes nothing. Raises OSError."""
    plan = Plan()
    top = checkout.top
    folders = _Folders(top, set(checkout.files))
    for path, file in wanted.items():
        blocked = folders.blocked(path)
        if blocked:
            plan.in_the_way[blocked] = "it is in the place of a directory"
            continue
        seen = look(top.at(path))
        kept = checkout.files.get(path)
        if seen is not None and seen.is_file and kept is not None and kept.is_at(seen) and kept.hash == file.hash:
            plan.here[path] = kept
        elif seen is not None and has_content(top.at(path), seen, file):
            plan.here[path] = Kept(seen.size, seen.mtime_ns, file.hash)
        elif seen is not None and stat.S_ISDIR(seen.mode):
            if not folders.will_go(path, wanted):
                plan.in_the_way[path] = "it is a directory with files of yours"
            plan.bring.append(Job(file, top.at(path), None))
        else:
            if seen is not None and not _is_ours(top.at(path), seen, kept):
                plan.changed[path] = "changed here" if kept is not None else "not from the commit"
            plan.bring.append(Job(file, top.at(path), seen))
    for path, kept in checkout.files.items():
        if path not in wanted and not folders.blocked(path):
            seen = look(top.at(path))
            if seen is None or stat.S_ISDIR(seen.mode):
                continue
            plan.remove[path] = seen
            if not _is_ours(top.at(path), seen, kept):
                plan.changed[path] = "changed here, and it is not in the commit any more"
    return plan


def refused(paths: Iterable[str], longest: int, *, is_folding: bool) -> dict[str, str]:
    """Files of a commit that the disk cannot hold, with the reasons.

    It has names of up to `longest` bytes; `is_folding` says that it takes `a` and `A` for the same.
    """
    found: dict[str, str] = {}
    folded: dict[str, str] = {}
    for path in paths:
        parts = path.split("/")
        if any(len(os.fsencode(part)) > longest for part in parts):
            found[path] = f"a name of more than {longest} bytes"
        elif any(part in ("", ".", "..") or "\0" in part for part in parts):
            found[path] = "no file can have that name"
        elif is_folding and folded.setdefault(path.casefold(), path) != path:
            found[path] = f"this disk takes it for '{folded[path.casefold()]}'"
    return found


def without_own(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """The paths of a commit that a copy gets, and those that it does not: files of this program are no data."""
    wanted: list[str] = []
    left_out: list[str] = []
    for path in paths:
        (left_out if own_files.is_in_own(path) else wanted).append(path)
    return wanted, left_out


def is_folding(top: Beneath) -> bool:
    """Whether the disk takes small and capital letters for the same; the checkout's state is there already."""
    return top.at(STATE.upper()).look() is not None


def _is_ours(spot: Spot, seen: Seen, kept: Kept | None) -> bool:
    """Whether a file is as it was put there; one that was only touched is."""
    if kept is None or not seen.is_file:
        return False
    if kept.is_at(seen):
        return True
    return seen.size == kept.size < VERIFIABLE_BYTES and hash_of(spot, seen.size) == kept.hash


class _Folders:
    """The directories of a checkout, as far as they were looked at."""

    def __init__(self, top: Beneath, ours: set[str]) -> None:
        self._top = top
        self._ours = ours
        self._known: dict[str, str] = {"": ""}

    def blocked(self, path: str) -> str:
        """What is no directory on the way to a path: a link is none, for it may lead out. "" if nothing is."""
        parent = path.rpartition("/")[0]
        if parent not in self._known:
            above = self.blocked(parent)
            seen = None if above else look(self._top.at(parent))
            will_go = seen is not None and seen.is_file and parent in self._ours
            is_blocked = seen is not None and not stat.S_ISDIR(seen.mode) and not will_go
            self._known[parent] = above or (parent if is_blocked else "")
        return self._known[parent]

    def will_go(self, path: str, wanted: dict[str, FileInfo]) -> bool:
        """Whether all that is in a directory is ours, and not wanted any more."""
        pending = [path]
        while pending:
            folder = pending.pop()
            entries = self._top.at(folder).entries()
            if not entries:
                return False
            for name, mode in entries:
                below = f"{folder}/{name}"
                if stat.S_ISDIR(mode):
                    pending.append(below)
                elif stat.S_ISLNK(mode) or below not in self._ours or below in wanted:
                    return False
        return True


def in_the_way(removed: Iterable[str], wanted: dict[str, FileInfo]) -> Iterator[str]:
    """Of the files that go, those that have to go first: a file where a directory will be, or the reverse."""
    folders: set[str] = set()
    for path in wanted:
        parent = path.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    for path in removed:
        above = path
        while above and above not in wanted:
            above = above.rpartition("/")[0]
        if path in folders or above:
            yield path
