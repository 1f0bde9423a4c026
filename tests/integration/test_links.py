"""`pachmount checkout --link` on XFS: a copy that takes no room beside the cache, and is a copy all the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.box import Box

MIB = 1 << 20
FILES = {
    "/large": os.urandom(24 * MIB + 1234),
    **{f"/d/{number}": os.urandom(200_000) for number in range(20)},
    "/small": b"small",
}
SIZE = sum(map(len, FILES.values()))


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory on a file system that can share blocks."""
    image, directory = tmp_path_factory.mktemp("xfs") / "image", tmp_path_factory.mktemp("disk")
    with image.open("wb") as file:
        file.truncate(400 * MIB)
    path = f"{os.environ['PATH']}:/sbin:/usr/sbin"
    make = shutil.which("mkfs.xfs", path=path)
    assert make is not None, "scripts/setup --dev installs it"
    subprocess.run([make, "-q", image], check=True)
    mounting = subprocess.run(["mount", "-o", "loop", image, directory], capture_output=True, text=True, check=False)
    if mounting.returncode != 0:
        pytest.skip(f"no XFS in a file here: {mounting.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


@pytest.fixture
def box(disk: Path, new_box: Callable[..., Box]) -> Box:
    """A daemon with its cache there."""
    return new_box(XDG_CACHE_HOME=str(disk / "cache"))


@pytest.fixture
def repo(box: Box) -> str:
    repo = box.repo("linked")
    box.put(repo, FILES)
    return repo


def used(disk: Path) -> int:
    os.sync()
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def content(directory: Path) -> dict[str, bytes]:
    return {
        f"/{path.relative_to(directory)}": path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.name.startswith(".pachmount")
    }


def check_out(box: Box, *arguments: str | Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(box.ok("checkout", "--json", *map(str, arguments)))
    return answer


def test_it_takes_no_room_beside_the_cache(box: Box, repo: str, disk: Path) -> None:
    box.mount(repo)
    box.ok("warmup", repo)
    before = used(disk)
    linked = check_out(box, "--link", repo, disk / "linked")
    assert linked["shared_bytes"] > 0.95 * SIZE
    assert used(disk) - before < 0.3 * SIZE
    assert content(disk / "linked") == FILES
    before = used(disk)
    assert check_out(box, repo, disk / "copied")["shared_bytes"] == 0
    assert used(disk) - before > 0.95 * SIZE


def test_neither_a_change_of_it_nor_one_of_the_cache_is_seen_by_the_other(box: Box, repo: str, disk: Path) -> None:
    box.mount(repo)
    copy = disk / "changed"
    check_out(box, "--link", repo, copy)
    with (copy / "large").open("r+b") as file:
        file.seek(5 * MIB)
        file.write(bytes(MIB))
    box.out("cat $1 >/dev/null", box.path(repo, "large"))
    assert box.path(repo, "large").read_bytes() == FILES["/large"]
    assert json.loads(box.ok("cache", "verify", "--json"))["damaged"] == 0
    box.ok("cache", "clear")
    large = FILES["/large"][: 5 * MIB] + bytes(MIB) + FILES["/large"][6 * MIB :]
    assert content(copy) == {**FILES, "/large": large}


def test_an_update_shares_what_it_fetches(box: Box, repo: str, disk: Path) -> None:
    check_out(box, "--link", repo, disk / "updated")
    box.put(repo, {"/more": os.urandom(3 * MIB)})
    assert check_out(box, "--update", "--link", disk / "updated")["shared_bytes"] == 3 * MIB


def test_where_it_cannot_be_done_nothing_is(box: Box, repo: str, tmp_path: Path) -> None:
    said = box.refused("checkout", "--link", repo, str(tmp_path / "elsewhere"), code=2)
    assert "on another file system" in said
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs")
def test_a_file_system_that_cannot_share(new_box: Callable[..., Box]) -> None:
    box = new_box(start=False)
    (box.root / "cache").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", box.root / "cache"], check=True)
    try:
        box.start()
        repo = box.repo("plain")
        box.put(repo, {"/a": b"a"})
        said = box.refused("checkout", "--link", repo, str(box.root / "cache" / "copy"), code=2)
        assert "cannot share blocks" in said
    finally:
        subprocess.run(["umount", "-l", box.root / "cache"], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount read-only")
def test_a_place_that_cannot_be_written_is_told_as_such(box: Box, repo: str, disk: Path, tmp_path: Path) -> None:
    subprocess.run(["mount", "--bind", disk, tmp_path], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", tmp_path], check=True)
        said = box.refused("checkout", "--link", repo, str(tmp_path / "copy"))
        assert "Read-only file system" in said
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
