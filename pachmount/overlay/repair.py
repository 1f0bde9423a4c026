"""Repairing a store of staged changes: names from their ledger, and what belongs to no name into `lost+found`."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pachmount.errors import BusyError, NotFoundError
from pachmount.files import sync_directory
from pachmount.ledger import LostAndFound
from pachmount.ledger import repair as repair_database
from pachmount.overlay import rows
from pachmount.overlay.inodes import ROOT_ID, File
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
            report = Report(done.restored, done.lost)
            numbers = _mend(directory, report) if done.has_database else set()
        for number, path in sorted(data_files(directory).items()):
            if number not in numbers:
                lost.take(path)
                report.lost.append(f"the name of a file whose bytes are in {NAMES_FILE}'s stead: data/{number}")
        if not done.has_database:
            lost.take(directory / RESERVE_FILE)
    finally:
        os.close(in_use)
    if done.has_database:
        Staging(directory).close()  # the ledger begins anew, if it has to
    return Report(report.restored, report.lost, str(lost.directory or ""))
