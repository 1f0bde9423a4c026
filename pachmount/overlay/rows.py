"""The rows of the store of staged changes: its tables, the statements that change them, and inodes made of them."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pachmount.overlay.extents import Extents
from pachmount.overlay.inodes import Directory, File, Inode, Special, Symlink
from pachmount.overlay.staged_bytes import StagedBytes

SCHEMA_VERSION = 3
OLDER_VERSIONS = (2,)
SCHEMA = (
    """
CREATE TABLE IF NOT EXISTS inode (
    id INTEGER PRIMARY KEY, number INTEGER NOT NULL, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,
    atime INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, base BLOB, size INTEGER NOT NULL,
    base_size INTEGER NOT NULL, extents BLOB NOT NULL, target BLOB NOT NULL, xattrs TEXT NOT NULL,
    data INTEGER NOT NULL, unsynced BLOB NOT NULL, overwritten INTEGER NOT NULL, checksum BLOB NOT NULL,
    lost BLOB NOT NULL, mixed BLOB NOT NULL)""",
    """
CREATE TABLE IF NOT EXISTS entry (
    directory INTEGER NOT NULL, name BLOB NOT NULL, inode INTEGER, PRIMARY KEY (directory, name)) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """
CREATE TABLE IF NOT EXISTS sums (
    inode INTEGER NOT NULL, part INTEGER NOT NULL, is_open INTEGER NOT NULL, sums BLOB NOT NULL,
    PRIMARY KEY (inode, part)) WITHOUT ROWID""",
)
Change = tuple[str, tuple[Any, ...]]
"""A statement for the store and its values."""
FORGET_STRAY_SUMS: Change = "DELETE FROM sums WHERE inode NOT IN (SELECT id FROM inode)", ()
"""Keep no checksums of inodes that are gone."""
_PUT_INODE = "INSERT OR REPLACE INTO inode VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SIGN = 1 << 64
"""SQLite's integers are signed."""


def put(inode: Inode) -> Change:
    """Keep an inode as it is now."""
    size = base_size = 0
    extents = target = b""
    staged: tuple[Any, ...] = 0, b"", False, b"", b"", b""
    if isinstance(inode, File):
        with inode.lock:
            size, base_size, extents, data = inode.size, inode.base_size, inode.extents.pack(), inode.data
            if extents:
                doubts = data.lost.pack(), data.mixed.pack()
                staged = data.number, data.never_synced().pack(), data.overwritten, b"", *doubts
    elif isinstance(inode, Symlink):
        target = inode.target
    elif isinstance(inode, Special):
        size = inode.device
    number = inode.number - _SIGN if inode.number >= _SIGN // 2 else inode.number
    xattrs = json.dumps({name: value.hex() for name, value in inode.xattrs.items()}) if inode.xattrs else "{}"
    times = inode.atime, inode.mtime, inode.ctime
    owner = inode.uid, inode.gid
    content = size, base_size, extents, target
    return _PUT_INODE, (inode.id, number, inode.mode, *owner, *times, inode.base, *content, xattrs, *staged)


@dataclass(frozen=True)
class KeptSums:
    """A change that keeps checksums of a file; `done` is called when the store has them."""

    change: Change
    done: Callable[[], None]


def keep(inode: Inode) -> list[Change | KeptSums]:
    """Keep an inode as it is now, with the checksums of its staged bytes."""
    if not isinstance(inode, File):
        return [put(inode)]
    with inode.lock:
        changes: list[Change | KeptSums] = [put(inode)]
        sums = inode.data.sums
        if sums.is_cut:
            last = 0 if not (sums.guarded and inode.extents) else sums.parts()
            cut = "DELETE FROM sums WHERE inode = ? AND part >= ?", (inode.id, last)
            changes.append(KeptSums(cut, partial(setattr, sums, "is_cut", False)))
        if not inode.extents:
            return changes
        for part, number in sums.unkept.items():
            row = "INSERT OR REPLACE INTO sums VALUES (?, ?, 0, ?)", (inode.id, part, sums.pack(part))
            changes.append(KeptSums(row, partial(sums.kept, part, number)))
        return changes


def mark_open(file: File, part: int) -> Change:
    """Keep that bytes of a part of a file are about to be replaced."""
    return "UPDATE sums SET is_open = 1 WHERE inode = ? AND part = ?", (file.id, part)


def forget_sums(inode: Inode) -> Change:
    """Keep no checksums of an inode any more."""
    return "DELETE FROM sums WHERE inode = ?", (inode.id,)


def mark_overwritten(file: File) -> Change:
    """Keep that bytes of a file that are on the disk are about to be replaced."""
    return "UPDATE inode SET overwritten = 1, checksum = x'' WHERE id = ?", (file.id,)


def forget(inode: Inode) -> Change:
    """Keep an inode no more; whatever entries a directory has must go as well."""
    return "DELETE FROM inode WHERE id = ?", (inode.id,)


def forget_entries(directory: Inode) -> Change:
    """Take all entries of a directory away."""
    return "DELETE FROM entry WHERE directory = ?", (directory.id,)


def name(directory: Inode, entry: bytes, inode: Inode | None) -> Change:
    """Let a directory have an entry; None hides that of its base."""
    values = directory.id, entry, None if inode is None else inode.id
    return "INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", values


def unname(directory: Inode, entry: bytes) -> Change:
    """Take an entry away, so that the base's shows again, if it has one."""
    return "DELETE FROM entry WHERE directory = ? AND name = ?", (directory.id, entry)


def about(key: str, value: str) -> Change:
    """Note something about all of the changes."""
    return "INSERT OR REPLACE INTO about VALUES (?, ?)", (key, value)


def inode_of(row: tuple[Any, ...]) -> Inode:
    """The inode that `put` kept in a row. ValueError or struct.error if the row is damaged."""
    key, number, mode, uid, gid, atime, mtime, ctime, base, size, base_size, extents, target, xattrs, *staged = row
    known = {
        "id": key,
        "number": number % _SIGN,
        "mode": mode,
        "uid": uid,
        "gid": gid,
        "atime": atime,
        "mtime": mtime,
        "ctime": ctime,
        "base": None if base is None else bytes(base),
        "xattrs": {name: bytes.fromhex(value) for name, value in json.loads(xattrs).items()},
    }
    if stat.S_ISDIR(mode):
        return Directory(**known)
    if stat.S_ISLNK(mode):
        return Symlink(**known, target=bytes(target))
    if not stat.S_ISREG(mode):
        return Special(**known, device=size)
    return File(**known, size=size, base_size=base_size, extents=Extents.unpack(extents), data=_staged_bytes(*staged))


def _staged_bytes(
    number: int, unsynced: bytes, overwritten: int, checksum: bytes, lost: bytes, mixed: bytes
) -> StagedBytes:
    data = StagedBytes(number, Extents.unpack(unsynced), overwritten=bool(overwritten), checksum=bytes(checksum))
    data.lost, data.mixed = Extents.unpack(lost), Extents.unpack(mixed)
    return data
