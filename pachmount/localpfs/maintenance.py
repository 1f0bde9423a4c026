"""Looking after a store while no server has it: `--check`, `--repair` and `--gc`."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from pachmount.errors import NotFoundError, NotPermittedError, StorageFullError
from pachmount.ledger import Verdict
from pachmount.localpfs import verify
from pachmount.localpfs.database import full
from pachmount.localpfs.repair import repair_store
from pachmount.localpfs.store import Store, lock


@dataclass
class Collected:
    """What collecting garbage came to, in bytes of the store's files."""

    store: str
    before: int
    after: int


def check(root: Path, *, as_json: bool) -> int:
    """Check a store and print the report; the exit code: 1 if it is damaged."""
    _require(root)
    held = lock(root)
    try:
        report = verify.check(root)
    finally:
        os.close(held)
    print(json.dumps(dataclasses.asdict(report)) if as_json else "\n".join(report.lines()))  # noqa: T201
    return 1 if report.damaged else 0


def glance(root: Path, *, as_json: bool) -> int:
    """Say whether a start would find damage, without reading all; the exit code: 1 if so."""
    _require(root)
    held = lock(root)
    try:
        found = verify.look_at(root)
        problem = found.problem
        if found.verdict is not Verdict.DAMAGED and found.row is not None:
            problem = "; ".join(text for text in (problem, verify.missing_packs(root)) if text)
    finally:
        os.close(held)
    print(json.dumps({"store": str(root), "problem": problem}) if as_json else problem or "no damage")  # noqa: T201
    return 1 if problem else 0


def repair(root: Path, *, as_json: bool) -> int:
    """Repair a store and print the report; the exit code: 1 if something is lost."""
    _require(root)
    held = lock(root)
    try:
        report = repair_store(root)
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise NotPermittedError(f"cannot repair the store {root}", error.strerror or str(error)) from error
        if isinstance(error, sqlite3.Error) and not full(error):
            raise
        raise StorageFullError(
            f"cannot repair the store {root}", "the disk is full", "free some space, then run it again"
        ) from error
    finally:
        os.close(held)
    print(json.dumps(dataclasses.asdict(report)) if as_json else "\n".join(report.lines()))  # noqa: T201
    return 1 if report.lost or report.lost_file_count else 0


def collect(root: Path, *, as_json: bool) -> int:
    """Remove everything that no commit and no living file set needs, and print how much that was; the exit code."""
    _require(root)
    before = _size(root)
    try:
        store = Store(root, thorough=True)
        try:
            store.database.shrink()
        finally:
            store.close()
    except (OSError, sqlite3.OperationalError) as error:
        if isinstance(error, sqlite3.Error) and not full(error):
            raise
        raise StorageFullError(f"cannot clean up the store {root}", str(error), "free some space first") from error
    done = Collected(str(root), before, _size(root))
    freed = f"removed {done.before - done.after} bytes, {done.after} are left"
    print(json.dumps(dataclasses.asdict(done)) if as_json else f"{root}: {freed}")  # noqa: T201
    return 0


def _require(root: Path) -> None:
    if not any((root / name).exists() for name in ("pfs.db", "packs", "ledger")):
        raise NotFoundError(f"there is no store in {root}")


def _size(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
