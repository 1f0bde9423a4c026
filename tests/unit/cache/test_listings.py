"""Listings on disk: what was saved or nothing, within the limit, whatever happens to the files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pachmount.cache.listings import ListingFiles

KEY = ("cluster", "default", "repo", "c" * 32)
SECTIONS = [b"blob" * 100, b"", bytes(range(256))]


def test_what_was_saved_is_there_for_others_too(tmp_path: Path) -> None:
    ListingFiles(tmp_path / "l", 1 << 20).save(KEY, SECTIONS)
    files = ListingFiles(tmp_path / "l", 1 << 20)
    assert files.load(KEY) == SECTIONS
    assert files.load((*KEY, "/sub")) is None
    (file,) = (tmp_path / "l").iterdir()
    assert files.bytes_used == file.stat().st_size
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "empty", "magic"])
def test_damage_is_a_miss_and_goes_away(tmp_path: Path, damage: str) -> None:
    files = ListingFiles(tmp_path, 1 << 20)
    files.save(KEY, SECTIONS)
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[-1] ^= 1
    elif damage == "magic":
        data[0] ^= 1
    file.write_bytes({"cut": data[:-1], "longer": data + b"x", "empty": b""}.get(damage, data))
    assert files.load(KEY) is None
    assert not list(tmp_path.iterdir())
    files.save(KEY, SECTIONS)
    assert files.load(KEY) == SECTIONS


def test_the_oldest_used_go_first(tmp_path: Path) -> None:
    files = ListingFiles(tmp_path, 3500)
    for number in range(3):
        files.save((*KEY, str(number)), [bytes(1000)])
        os.utime(files._path((*KEY, str(number))), (number, number))
    assert files.load((*KEY, "0")) is not None
    files.save((*KEY, "3"), [bytes(1000)])
    assert [files.load((*KEY, str(number))) is not None for number in range(4)] == [True, False, True, True]
    assert files.bytes_used <= 3500


def test_one_that_is_too_big_or_a_directory_that_cannot_be_used_cost_speed_only(tmp_path: Path) -> None:
    files = ListingFiles(tmp_path / "l", 100)
    files.save(KEY, [bytes(1000)])
    assert files.load(KEY) is None
    (tmp_path / "file").write_bytes(b"")
    files = ListingFiles(tmp_path / "file", 1 << 20)
    files.save(KEY, SECTIONS)
    assert files.load(KEY) is None
