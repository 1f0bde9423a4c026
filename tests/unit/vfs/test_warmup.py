"""A warm-up is not done before the disk has everything, and says so when it never will."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pachmount.cache.blocks import BlockCache, BlockKey, BlockStore
from pachmount.cache.disk import DiskBlocks
from pachmount.errors import PachmountError, StorageFullError
from pachmount.names import Source
from pachmount.vfs.content import Contents
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.statistics import MountStatistics
from pachmount.vfs.view import CommitView, WaitGate
from pachmount.vfs.warmup import Part, Warmup, disk_room
from tests.fakes import FakeCluster

MIB = 1 << 20
FILES = {f"/d{n % 4}/{n}": b"%d" % n * 1000 for n in range(40)} | {"/big": bytes(range(256)) * (3 * MIB // 256)}


class Disk:
    """Keeps blocks, except that it loses the first `losses` of them."""

    def __init__(self, losses: int = 0) -> None:
        self.losses = losses
        self.blocks: dict[BlockKey, bytes] = {}

    def get(self, key: BlockKey) -> bytes | None:
        return self.blocks.get(key)

    def put_many(self, blocks: list[tuple[BlockKey, bytes]]) -> None:
        for key, data in blocks:
            if self.losses:
                self.losses -= 1
            else:
                self.blocks[key] = data

    def contains(self, key: BlockKey) -> bool:
        return key in self.blocks

    def tidy(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to close."""


@contextmanager
def warmed(
    cluster: FakeCluster, disk: BlockStore, *paths: bytes, room: Callable[[], int] = lambda: 1 << 40
) -> Iterator[Warmup]:
    """A warm-up that has ended."""
    cache = BlockCache(disk, 32 * MIB)
    contents, gate = Contents(cache, 2.0, 4 * MIB), WaitGate(8, 2.0)
    source = Source("default", "fake", "master", "0" * 32)
    view = CommitView(cluster, source, 0.0, PathFilter(), contents, gate, 2.0, MountStatistics())
    view.tree.start()
    warmup = Warmup(1, [Part("m", view, paths or (b"/",), lambda: view)], contents, gate, room)
    warmup.start()
    deadline = time.monotonic() + 30
    while warmup.running:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield warmup
    contents.close()
    cache.close()


def test_blocks_that_did_not_reach_the_disk_are_brought_again() -> None:
    disk = Disk(losses=20)
    with warmed(FakeCluster(FILES), disk) as warmup:
        assert warmup.state == "done"
        assert len(disk.blocks) == 40 + 3


def test_a_disk_that_keeps_nothing_is_an_error() -> None:
    with warmed(FakeCluster(FILES), Disk(losses=10**6)) as warmup:
        assert warmup.state == "failed"
        assert isinstance(warmup.error, StorageFullError)


def test_equal_contents_count_once_where_room_is_scarce() -> None:
    same = {f"/{n}": b"x" * 1000 for n in range(100)}
    with warmed(FakeCluster(same), Disk(), room=lambda: 1200) as warmup:
        assert warmup.state == "done"
        assert (warmup.progress.total_bytes, warmup.progress.done_bytes) == (100_000, 100_000)
    with warmed(FakeCluster(same | {"/other": b"y"}), Disk(), room=lambda: 1200) as warmup:
        assert warmup.state == "failed"
        assert warmup.progress.done_bytes == 0


@pytest.mark.parametrize(("path", "files"), [(b"/", 41), (b"/d1", 10), (b"/d1/5", 1), (b"/big", 1)])
def test_only_what_is_below_the_paths_is_brought(path: bytes, files: int) -> None:
    disk = Disk()
    with warmed(FakeCluster(FILES), disk, path) as warmup:
        progress = warmup.progress
        assert (progress.done_files, progress.total_files, progress.found_files) == (files, files, 0)
        assert len(disk.blocks) == files + 2 * (b"/big".startswith(path))


def test_what_cannot_be_read_ends_it_with_the_reason() -> None:
    cluster = FakeCluster(FILES)

    def refuse(path: str, offset: int) -> None:
        if path == "/d2/6":
            raise PachmountError("this file is cursed")

    cluster.on_open = refuse
    with warmed(cluster, Disk()) as warmup:
        assert warmup.state == "failed"
        assert warmup.error is not None
        assert warmup.error.what == "this file is cursed"


@pytest.mark.parametrize(
    ("size", "count"), [(300, 12_000), (3_000, 2_300), (900_000, 8), (3 * MIB // 2, 4), (7 * MIB, 1)]
)
def test_what_is_said_to_fit_does_fit_into_a_cache_full_of_other_things(size: int, count: int, tmp_path: Path) -> None:
    disk = DiskBlocks(tmp_path / "blocks", 8 * MIB)
    for number in range(12):
        disk.put_many([((b"%32d" % number, 0), bytes(MIB))])
    files = {f"/{number:06}": b"%06d" % number * (size // 6) for number in range(count)}
    with warmed(FakeCluster(files), disk, room=lambda: disk_room(disk)) as warmup:
        assert warmup.error is None
        assert warmup.progress.done_files == count


@pytest.mark.parametrize(("size", "count"), [(300, 20_000), (3_000, 2_700), (900_000, 9), (8 * MIB, 1)])
def test_what_does_not_fit_is_not_begun(size: int, count: int, tmp_path: Path) -> None:
    disk = DiskBlocks(tmp_path / "blocks", 8 * MIB)
    cluster = FakeCluster({f"/{number:06}": b"%06d" % number * (size // 6) for number in range(count)})
    with warmed(cluster, disk, room=lambda: disk_room(disk)) as warmup:
        assert isinstance(warmup.error, StorageFullError)
        assert cluster.opens == []
