"""What may happen to a file on a disk, at random: a bit, a range, the end, the whole of it, an older state of it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

SIZES = (1, 100, 500, 4096, 16384, 100_000)


def files(root: Path) -> list[Path]:
    """All regular files below a directory."""
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def flip(path: Path, chance: random.Random) -> None:
    """One bit is another."""
    data = bytearray(path.read_bytes())
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)


def zero(path: Path, chance: random.Random) -> None:
    """A range has zeroes."""
    data = bytearray(path.read_bytes())
    if data:
        at, length = chance.randrange(len(data)), chance.choice(SIZES)
        data[at : at + length] = bytes(len(data[at : at + length]))
        path.write_bytes(data)


def cut(path: Path, chance: random.Random) -> None:
    """The end is missing."""
    data = path.read_bytes()
    if data:
        path.write_bytes(data[: chance.randrange(len(data))])


def swap_ranges(path: Path, chance: random.Random) -> None:
    """Two ranges of the file are exchanged."""
    data = bytearray(path.read_bytes())
    length = min(chance.choice(SIZES), len(data) // 2)
    one, other = sorted((chance.randrange(len(data) - length + 1), chance.randrange(len(data) - length + 1)))
    one = min(one, other - length)
    if one >= 0:
        data[one : one + length], data[other : other + length] = data[other : other + length], data[one : one + length]
        path.write_bytes(data)


def swap_files(path: Path, other: Path) -> None:
    """Two files are exchanged."""
    one_data, other_data = path.read_bytes(), other.read_bytes()
    path.write_bytes(other_data)
    other.write_bytes(one_data)


def delete(path: Path, _: random.Random) -> None:
    path.unlink()


def empty(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def to_older(path: Path, older: Path) -> None:
    """The state of the file that `older` is, as a backup or a lost write of the disk leaves it."""
    if older.exists():
        shutil.copy(older, path)
    else:
        path.unlink()


_ALONE: dict[str, Callable[[Path, random.Random], None]] = {
    "flip a bit": flip,
    "zero a range": zero,
    "cut": cut,
    "swap two ranges": swap_ranges,
    "delete": delete,
    "empty": empty,
}
WAYS = (*_ALONE, "swap two files", "an older copy")


def damage(way: str, path: Path, chance: random.Random, *, older: Path, others: list[Path]) -> None:
    """Do one of WAYS to a file; `others` are the files that may be exchanged with it."""
    if way == "an older copy":
        to_older(path, older)
    elif way == "swap two files":
        candidates = [other for other in others if other != path]
        if candidates:
            swap_files(path, chance.choice(candidates))
    else:
        _ALONE[way](path, chance)
