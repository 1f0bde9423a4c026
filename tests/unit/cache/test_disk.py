"""The blocks on disk: bounded, oldest out first, and whatever happens to the files only ever a miss."""

from __future__ import annotations

import logging
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pachmount.cache import disk as disk_module
from pachmount.cache.blocks import BlockKey
from pachmount.cache.disk import INLINE_BYTES, DiskBlocks

KIB = 1 << 10
BIG = 100 * KIB
"""A block that gets a file of its own."""


def key(number: int) -> BlockKey:
    return (number.to_bytes(4, "big") * 8, number % 7)


def block(number: int, size: int = BIG) -> bytes:
    return random.Random(number).randbytes(size)


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of the machine that runs the tests may be nearly full."""
    monkeypatch.setattr(disk_module, "FREE_SPACE_FLOOR", 0.0)


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[..., DiskBlocks]]:
    made: list[DiskBlocks] = []

    def make(limit: int = 100 << 20, directory: str = "blocks") -> DiskBlocks:
        made.append(DiskBlocks(tmp_path / directory, limit))
        return made[-1]

    yield make
    for store in made:
        store.close()


def files(store: DiskBlocks) -> list[Path]:
    return [path for path in store.directory.glob("*/*") if path.is_file()]


@pytest.mark.parametrize("size", [0, 1, INLINE_BYTES, INLINE_BYTES + 1, 1 << 20])
def test_what_was_put_is_found_again_by_the_next_process_too(open_store: Callable[..., DiskBlocks], size: int) -> None:
    store = open_store()
    store.put_many([(key(1), block(1, size))])
    assert store.get(key(1)) == block(1, size)
    assert store.contains(key(1))
    assert store.get(key(2)) is None
    assert (store.bytes_used, store.blocks) == (size, 1)
    assert len(files(store)) == (1 if size > INLINE_BYTES else 0)
    store.close()
    again = open_store()
    assert again.get(key(1)) == block(1, size)
    assert (again.bytes_used, again.blocks) == (size, 1)


def test_it_is_nobody_elses_business(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store()
    store.put_many([(key(1), block(1))])
    assert store.directory.stat().st_mode & 0o077 == 0
    assert (store.directory / "blocks.sqlite").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("size", [1000, BIG])
def test_the_limit_holds_after_every_write(open_store: Callable[..., DiskBlocks], size: int) -> None:
    limit = 30 * size
    store = open_store(limit)
    for number in range(0, 300, 3):
        store.put_many([(key(n), block(n, size)) for n in range(number, number + 3)])
        assert store.bytes_used <= limit
        assert sum(path.stat().st_size for path in files(store)) <= limit
    assert store.bytes_used > limit / 2
    assert store.get(key(299)) == block(299, size)
    assert store.get(key(0)) is None


def test_the_least_recently_used_goes_first(
    open_store: Callable[..., DiskBlocks], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000_000.0
    monkeypatch.setattr(disk_module.time, "time", lambda: now)
    monkeypatch.setattr(disk_module, "EVICTION_SLACK", 0.0)
    store = open_store(200 * BIG)
    for number in range(200):
        now += 1
        store.put_many([(key(number), block(number))])
    now += 10
    assert store.get(key(0)) is not None
    now += 1
    store.put_many([(key(900), b"small")])  # also records which blocks were used
    for number in range(901, 930):
        now += 1
        store.put_many([(key(number), block(number))])
    assert store.get(key(0)) == block(0), "used a moment ago"
    assert store.get(key(1)) is None
    assert store.get(key(929)) == block(929)


def test_putting_the_same_again_counts_once(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store()
    for _ in range(3):
        store.put_many([(key(1), block(1)), (key(2), b"small")])
    assert (store.bytes_used, store.blocks) == (BIG + 5, 2)


def test_a_block_larger_than_the_limit_is_not_kept_or_breaks_nothing(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store(limit=BIG // 2)
    store.put_many([(key(1), block(1))])
    assert store.bytes_used <= BIG // 2
    assert store.get(key(1)) in (None, block(1))


def test_a_limit_of_nothing_keeps_nothing(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store(limit=0)
    store.put_many([(key(1), block(1)), (key(2), b"small")])
    assert store.get(key(1)) is None
    assert store.get(key(2)) is None
    assert files(store) == []


DAMAGES: dict[str, Callable[[Path], object]] = {
    "one bit": lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_file_is_a_miss_and_is_forgotten(
    open_store: Callable[..., DiskBlocks], damage: Callable[[Path], object]
) -> None:
    store = open_store()
    store.put_many([(key(1), block(1)), (key(2), block(2))])
    (path,) = (file for file in files(store) if file.name.startswith(key(1)[0].hex()))
    damage(path)
    assert store.get(key(1)) is None
    assert not store.contains(key(1))
    assert not path.exists()
    assert store.get(key(2)) == block(2)
    assert store.bytes_used == BIG
    store.put_many([(key(1), block(1))])
    assert store.get(key(1)) == block(1)


@pytest.mark.parametrize("content", [b"", b"x" * 5000], ids=["empty", "garbage"])
def test_a_damaged_index_is_made_anew_and_its_files_are_removed(
    open_store: Callable[..., DiskBlocks], content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    store.put_many([(key(1), block(1))])
    store.close()
    (store.directory / "blocks.sqlite").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = open_store()
    assert again.get(key(1)) is None
    assert files(again) == []
    assert again.bytes_used == 0
    again.put_many([(key(2), block(2))])
    assert again.get(key(2)) == block(2)


def test_an_index_of_a_later_version_is_replaced(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store()
    store.put_many([(key(1), block(1))])
    store.close()
    db = sqlite3.connect(store.directory / "blocks.sqlite")
    db.execute("PRAGMA user_version = 99")
    db.close()
    again = open_store()
    assert again.get(key(1)) is None
    again.put_many([(key(2), b"x")])
    assert again.get(key(2)) == b"x"


def test_deleted_under_way_it_goes_on_with_the_next_write(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store()
    store.put_many([(key(1), block(1)), (key(2), b"small")])
    shutil.rmtree(store.directory)
    assert store.get(key(1)) is None
    store.put_many([(key(3), block(3))])
    assert store.get(key(3)) == block(3)
    assert store.bytes_used == BIG
    assert store.disabled_reason == ""


def test_an_index_deleted_alone_leaves_no_orphans(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store()
    store.put_many([(key(1), block(1))])
    for file in store.directory.glob("blocks.sqlite*"):
        file.unlink()
    store.put_many([(key(2), block(2))])
    assert store.get(key(2)) == block(2)
    assert len(files(store)) == store.blocks == 1


def test_a_disk_that_refuses_is_left_alone_for_a_while_and_said_so_once(
    open_store: Callable[..., DiskBlocks], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    store.put_many([(key(1), block(1))])
    calls = []

    def refuse(path: Path, data: bytes) -> int:
        calls.append(path)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full, caplog.at_level(logging.WARNING):
        full.setattr(Path, "write_bytes", refuse)
        for number in range(2, 5):
            store.put_many([(key(number), block(number))])
    assert len(calls) == 1
    assert "No space left" in store.disabled_reason
    assert caplog.text.count("No space left") == 1
    assert store.get(key(1)) == block(1), "what is there can be read"
    monkeypatch.setattr(disk_module, "RETRY_AFTER", 0.0)
    store._disabled_until = 0.0
    store.put_many([(key(5), block(5))])
    assert store.get(key(5)) == block(5)
    assert store.disabled_reason == ""
    assert not list(store.directory.glob("*/*.tmp"))


def test_the_free_space_of_the_disk_is_respected(
    open_store: Callable[..., DiskBlocks], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_module, "FREE_SPACE_FLOOR", 0.05)
    usage = shutil.disk_usage("/")
    free = 1000 << 20
    monkeypatch.setattr(disk_module.shutil, "disk_usage", lambda _: usage._replace(total=10_000 << 20, free=free))
    store = open_store()
    store.put_many([(key(1), block(1))])
    free = 500 << 20
    store.put_many([(key(2), block(2))])
    assert store.get(key(2)) is None
    assert "free" in store.disabled_reason
    assert store.bytes_used == 0, "it made room for others first"


def test_a_directory_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = DiskBlocks(tmp_path / "file" / "blocks", 1 << 20)
    store.put_many([(key(1), b"x")])
    assert store.get(key(1)) is None
    assert not store.contains(key(1))
    assert "cannot open" in store.disabled_reason
    store.close()


def test_two_processes_share_one_cache_and_one_limit(open_store: Callable[..., DiskBlocks]) -> None:
    limit = 30 * BIG
    one, two = open_store(limit), open_store(limit)
    one.put_many([(key(1), block(1))])
    assert two.get(key(1)) == block(1)
    for number in range(2, 80):
        (one if number % 2 else two).put_many([(key(number), block(number))])
    assert sum(path.stat().st_size for path in files(one)) <= limit
    assert max(one.bytes_used, two.bytes_used) <= limit


def test_readers_and_a_writer_at_once(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store(limit=20 * BIG)

    def read(seed: int) -> None:
        generator = random.Random(seed)
        for _ in range(200):
            number = generator.randrange(60)
            size = BIG if number % 2 else 500
            assert store.get(key(number)) in (None, block(number, size))

    with ThreadPoolExecutor(5) as pool:
        readers = [pool.submit(read, seed) for seed in range(4)]
        for number in range(60):
            store.put_many([(key(number), block(number, BIG if number % 2 else 500))])
        for reader in readers:
            reader.result()
    assert store.disabled_reason == ""


def test_clearing_removes_everything(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store()
    store.put_many([(key(number), block(number, 100 * number)) for number in range(1500, 1520)])
    store.clear()
    assert (store.bytes_used, store.blocks, files(store)) == (0, 0, [])
