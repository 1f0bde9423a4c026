"""Repairing a store of staged changes: names from their ledger, and what belongs to no name into `lost+found`."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

from pachmount.errors import BusyError, NotFoundError
from pachmount.ledger import LostAndFound
from pachmount.ledger import repair as repair_database
from pachmount.overlay import rows
from pachmount.overlay.inodes import ROOT_ID, Directory, File, Inode
from pachmount.overlay.kept import NAMES_FILE, RESERVE_FILE, data_files, has_data
from pachmount.overlay.staging import Staging, faults


@dataclass(frozen=True)
class Report:
    """What a repair did, in phrases for people; `place` has all that could not stay where it was, "" if nothing."""

    restored: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    place: str = ""


def repair(directory: Path) -> Report:
    """Make a store usable that is damaged; nothing is removed. May be cut off at any point and run again.

    Raises NotFoundError, BusyError if it is in use, OSError.
    """
    if not directory.is_dir():
        raise NotFoundError(f"nothing is staged under the name '{directory.name}'", "", "pachmount staged list")
    lost = LostAndFound(directory)
    in_use = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = f"pachmount unmount {directory.name} --keep"
            raise BusyError(f"'{directory}' is in use", "the mount shows what is staged there", hint) from error
        with faults(directory):
            done = repair_database(directory / NAMES_FILE, lost, has_data=has_data(directory))
    finally:
        os.close(in_use)
    numbers = _mend(directory, done.lost) if done.has_database else set()
    unnamed = [path for number, path in sorted(data_files(directory).items()) if number not in numbers]
    for path in unnamed:
        lost.take(path)
    if unnamed:
        done.lost.append(f"the names of {len(unnamed)} files, whose staged bytes are in lost+found")
    if not done.has_database:
        lost.take(directory / RESERVE_FILE)
    return Report(done.restored, done.lost, str(lost.directory or ""))


def _mend(directory: Path, lost: list[str]) -> set[int]:
    """Take out of a store what cannot be read or reached from its root; the numbers of the files that it names."""
    store = Staging(directory)
    try:
        inodes: dict[int, Inode] = {}
        changes: list[rows.Change] = []
        for row in store.query("SELECT * FROM inode"):
            try:
                inodes[row[0]] = rows.inode_of(row)
            except (ValueError, TypeError, KeyError, AttributeError, struct.error):
                changes.append(("DELETE FROM inode WHERE id = ?", (row[0],)))
        if inodes and not isinstance(inodes.get(ROOT_ID), Directory):
            now = time.time_ns()
            root = Directory(ROOT_ID, 1, stat.S_IFDIR | 0o755, os.getuid(), os.getgid(), now, now, now, 2, b"/")
            inodes[ROOT_ID] = root
            changes.append(rows.put(root))
        children: dict[int, list[tuple[bytes, int | None]]] = {}
        for above, name, child in store.query("SELECT directory, name, inode FROM entry"):
            children.setdefault(above, []).append((name, child))
        reached: set[int] = set()
        rest = [ROOT_ID] if inodes else []
        while rest:
            number = rest.pop()
            reached.add(number)
            found = children.pop(number, [])
            for name, child in found if isinstance(inodes[number], Directory) else ():
                if child is None:
                    continue
                if child in inodes and not (child in reached and isinstance(inodes[child], Directory)):
                    rest.append(child)
                else:
                    changes.append(rows.unname(inodes[number], name))
                    lost.append(f"what was at {os.fsdecode(name)!r}: its attributes cannot be read")
        changes += [rows.forget(inode) for number, inode in inodes.items() if number not in reached]
        changes += [("DELETE FROM entry WHERE directory = ?", (number,)) for number in children]
        changes.append(rows.FORGET_STRAY_SUMS)
        store.apply(changes, durable=True)
        return {
            inode.data.number
            for number, inode in inodes.items()
            if number in reached and isinstance(inode, File) and inode.extents
        }
    finally:
        store.close()
