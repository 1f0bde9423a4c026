"""The blocks on disk: bounded, oldest out first, and whatever happens to the files only ever a miss."""

from __future__ import annotations

import logging
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pachmount.cache import disk as disk_module
from pachmount.cache import segments as segments_module
from pachmount.cache.blocks import BlockKey
from pachmount.cache.disk import DiskBlocks

KIB = 1 << 10
MIB = 1 << 20
BIG = 512 * KIB


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

    def make(limit: int = 100 * MIB, directory: str = "blocks") -> DiskBlocks:
        made.append(DiskBlocks(tmp_path / directory, limit))
        return made[-1]

    yield make
    for store in made:
        store.close()


def files(store: DiskBlocks) -> list[Path]:
    return sorted(store.directory.glob("*.segment"))


def on_disk(store: DiskBlocks) -> int:
    """What the cache takes of the disk, as `du` says."""
    return sum(path.stat().st_blocks * 512 for path in store.directory.iterdir())


def segment_with(store: DiskBlocks, data: bytes) -> Path:
    (path,) = (path for path in files(store) if data in path.read_bytes())
    return path


@pytest.mark.parametrize("size", [0, 1, 4 * KIB, 64 * KIB + 1, MIB, 3 * MIB])
def test_what_was_put_is_found_again_by_the_next_process_too(open_store: Callable[..., DiskBlocks], size: int) -> None:
    store = open_store()
    store.put_many([(key(1), block(1, size))])
    assert store.get(key(1)) == block(1, size)
    assert store.contains(key(1))
    assert store.get(key(2)) is None
    assert store.blocks == 1
    store.close()
    again = open_store()
    assert again.get(key(1)) == block(1, size)
    assert again.blocks == 1
    assert size <= again.bytes_used == on_disk(again)


def test_small_blocks_share_files(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store()
    blocks = [(key(number), block(number, 100)) for number in range(5000)]
    store.put_many(blocks)
    assert len(files(store)) == 1
    assert all(store.get(name) == data for name, data in blocks)
    assert on_disk(store) < 3 * MIB


def test_what_one_process_left_half_empty_the_next_goes_on_with(open_store: Callable[..., DiskBlocks]) -> None:
    for number in range(20):
        store = open_store()
        store.put_many([(key(number), block(number, 100))])
        store.close()
    assert len(files(store)) == 1
    store = open_store()
    assert all(store.get(key(number)) == block(number, 100) for number in range(20))


def test_it_is_nobody_elses_business(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store()
    store.put_many([(key(1), block(1))])
    assert store.directory.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in store.directory.iterdir())


@pytest.mark.parametrize("size", [500, 5000, BIG, MIB])
def test_the_limit_holds_on_disk_after_every_write(open_store: Callable[..., DiskBlocks], size: int) -> None:
    limit = 8 * MIB
    store = open_store(limit)
    step = max(3, 200 * KIB // size)
    count = 5 * limit // size // step * step
    for number in range(0, count, step):
        store.put_many([(key(n), block(n, size)) for n in range(number, number + step)])
        assert on_disk(store) <= limit
        assert store.bytes_used <= limit
    assert on_disk(store) > limit / 2
    assert store.get(key(count - 1)) == block(count - 1, size)
    assert store.get(key(0)) is None


def test_the_least_recently_used_goes_first(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store(8 * MIB)
    number = 0
    while len(files(store)) < 5:
        store.put_many([(key(number), block(number, MIB))])
        number += 1
    assert store.get(key(0)) is not None
    for added in range(100, 102):
        store.put_many([(key(added), block(added, MIB))])
    while store.contains(key(2)):
        added += 1
        store.put_many([(key(added), block(added, MIB))])
    assert store.get(key(0)) == block(0, MIB), "used a moment ago"
    assert store.get(key(1)) is None
    assert store.get(key(added)) == block(added, MIB)


def test_putting_the_same_again_counts_once(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store()
    for _ in range(3):
        store.put_many([(key(1), block(1)), (key(2), b"small"), (key(1), block(1))])
    assert store.blocks == 2
    assert sum(path.stat().st_size for path in files(store)) == BIG + 5


@pytest.mark.parametrize("limit", [1, 10 * KIB, 100 * KIB])
def test_a_limit_too_small_for_anything_breaks_nothing(open_store: Callable[..., DiskBlocks], limit: int) -> None:
    store = open_store(limit)
    store.put_many([(key(1), block(1)), (key(2), b"small")])
    assert store.get(key(1)) is None
    assert files(store) == []
    assert store.disabled_reason == ""


def test_a_limit_of_nothing_keeps_nothing(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store(limit=0)
    store.put_many([(key(1), block(1)), (key(2), b"small")])
    assert store.get(key(1)) is None
    assert not store.contains(key(2))
    assert not store.directory.exists()


def test_a_lower_limit_takes_effect_with_the_next_process(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store(64 * MIB)
    for number in range(40):
        store.put_many([(key(number), block(number, MIB))])
    store.close()
    again = open_store(16 * MIB)
    again.tidy()
    assert on_disk(again) <= 16 * MIB
    assert again.get(key(39)) == block(39, MIB)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "one bit": lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[: BIG // 2]),
    "zeros": lambda path: path.write_bytes(bytes(BIG) + path.read_bytes()[BIG:]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_damage_is_a_miss_and_is_forgotten(
    open_store: Callable[..., DiskBlocks], damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(64 * MIB)
    for number in range(1, 4):
        store.put_many([(key(number), block(number))])
    store.close()
    store = open_store(64 * MIB)
    damage(segment_with(store, block(1)))
    with caplog.at_level(logging.WARNING):
        assert store.get(key(1)) is None
    assert "damaged" in caplog.text
    assert not store.contains(key(1))
    assert store.get(key(3)) == block(3)
    store.put_many([(key(1), block(1))])
    assert store.get(key(1)) == block(1)


def test_a_block_in_anothers_place_is_noticed(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store()
    store.put_many([(key(1), block(1)), (key(2), block(2))])
    store.close()
    with sqlite3.connect(store.directory / "index.sqlite") as db:
        db.execute("UPDATE block SET hash = ?, number = ? WHERE hash = ?", (*key(3), key(1)[0]))
    db.close()
    again = open_store()
    assert again.get(key(3)) is None
    assert again.get(key(2)) == block(2)


@pytest.mark.parametrize("content", [b"", b"x" * 5000], ids=["empty", "garbage"])
def test_a_damaged_index_is_made_anew_and_its_files_are_removed(
    open_store: Callable[..., DiskBlocks], content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    store.put_many([(key(1), block(1))])
    store.close()
    (store.directory / "index.sqlite").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = open_store()
    assert again.get(key(1)) is None
    assert files(again) == []
    assert again.blocks == 0
    again.put_many([(key(2), block(2))])
    assert again.get(key(2)) == block(2)


def test_an_index_that_is_damaged_under_way_is_made_anew_after_a_while(
    open_store: Callable[..., DiskBlocks], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_module, "RETRY_AFTER", 0.0)
    store = open_store()
    for number in range(2000):
        store.put_many([(key(number), b"%d" % number)]) if number % 500 == 0 else None
    store.put_many([(key(number), b"%d" % number) for number in range(2000)])
    path = store.directory / "index.sqlite"
    with open(path, "r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    for suffix in ("-wal",):
        with open(f"{path}{suffix}", "r+b") as file:
            file.truncate(0)
    for number in range(2000, 2010):
        assert store.get(key(number - 2000)) in (None, b"%d" % (number - 2000))
        store.put_many([(key(number), block(number))])
    assert store.get(key(2009)) == block(2009)
    assert store.disabled_reason == ""


def test_a_directory_of_an_older_version_is_replaced(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store()
    store.put_many([(key(1), block(1))])
    store.close()
    with sqlite3.connect(store.directory / "index.sqlite") as db:
        db.execute("PRAGMA user_version = 1")
    db.close()
    (store.directory / "ab").mkdir()
    (store.directory / "ab" / "ab12-7").write_bytes(b"old")
    (store.directory / "blocks.sqlite").write_bytes(b"old")
    again = open_store()
    assert again.get(key(1)) is None
    again.put_many([(key(2), b"x")])
    assert again.get(key(2)) == b"x"
    assert {path.suffix for path in again.directory.iterdir()} <= {".segment", ".sqlite", ".sqlite-wal", ".sqlite-shm"}
    assert not (again.directory / "blocks.sqlite").exists()


def test_deleted_under_way_it_goes_on_with_the_next_write(
    open_store: Callable[..., DiskBlocks], caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    store.put_many([(key(1), block(1)), (key(2), b"small")])
    shutil.rmtree(store.directory)
    with caplog.at_level(logging.WARNING):
        assert store.get(key(1)) in (None, block(1))
        store.tidy()
        assert store.get(key(1)) is None
        assert not store.directory.exists(), "nobody needs it yet"
        store.put_many([(key(3), block(3))])
    assert store.get(key(3)) == block(3)
    assert store.blocks == 1
    assert store.disabled_reason == ""
    assert not caplog.text


def test_deleted_while_many_look_something_up_it_goes_on_with_the_next_write(
    open_store: Callable[..., DiskBlocks], caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    store.put_many([(key(1), block(1))])
    shutil.rmtree(store.directory)
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(8) as pool:  # more than have a connection by now
        assert not any(pool.map(lambda number: store.contains(key(number)), range(2, 100)))
    assert not store.directory.exists(), "nobody needs it yet"
    store.put_many([(key(3), block(3))])
    assert store.get(key(3)) == block(3)
    assert not caplog.text


def test_what_was_deleted_takes_no_disk_space_any_more(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store()
    store.put_many([(key(1), block(1))])
    assert store.get(key(1)) is not None
    shutil.rmtree(store.directory)
    store.tidy()
    held = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if name.isdecimal()
            and os.path.lexists(f"/proc/self/fd/{name}")]  # fmt: skip
    assert not [path for path in held if str(store.directory) in path]


def test_an_index_deleted_alone_leaves_no_orphans(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store()
    store.put_many([(key(1), block(1))])
    for file in store.directory.glob("index.sqlite*"):
        file.unlink()
    store.put_many([(key(2), block(2))])
    assert store.get(key(1)) is None
    assert store.get(key(2)) == block(2)
    assert len(files(store)) == store.blocks == 1


def test_a_disk_that_refuses_is_left_alone_for_a_while_and_said_so_once(
    open_store: Callable[..., DiskBlocks], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    store.put_many([(key(1), block(1))])
    calls = []

    def refuse(*arguments: object) -> int:
        calls.append(arguments)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full, caplog.at_level(logging.WARNING):
        full.setattr(os, "pwritev", refuse)
        for number in range(2, 5):
            store.put_many([(key(number), block(number))])
    assert len(calls) == 1
    assert "No space left" in store.disabled_reason
    assert caplog.text.count("No space left") == 1
    assert store.get(key(1)) == block(1), "what is there can be read"
    assert store.get(key(2)) is None
    monkeypatch.setattr(store, "_disabled_until", 0.0)
    store.put_many([(key(5), block(5))])
    assert store.get(key(5)) == block(5)
    assert store.disabled_reason == ""


def test_the_free_space_of_the_disk_is_respected(
    open_store: Callable[..., DiskBlocks], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_module, "FREE_SPACE_FLOOR", 0.05)
    usage = shutil.disk_usage("/")
    free = 1000 * MIB
    monkeypatch.setattr(disk_module.shutil, "disk_usage", lambda _: usage._replace(total=10_000 * MIB, free=free))
    store = open_store(64 * MIB)
    for number in range(4):
        store.put_many([(key(number), block(number, MIB))])
    assert store.blocks == 4
    free = 499 * MIB
    store.put_many([(key(10), block(10, MIB))])
    assert store.get(key(10)) == block(10, MIB)
    assert store.get(key(0)) is None, "it made room of its own"
    free = 400 * MIB
    store.put_many([(key(11), block(11, MIB))])
    assert store.get(key(11)) is None
    assert "free" in store.disabled_reason
    assert on_disk(store) < MIB, "it made room for others first"


def test_a_directory_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = DiskBlocks(tmp_path / "file" / "blocks", 1 << 20)
    store.put_many([(key(1), b"x")])
    assert store.get(key(1)) is None
    assert not store.contains(key(1))
    assert "cannot open" in store.disabled_reason
    store.close()


def test_two_processes_share_one_cache_and_one_limit(open_store: Callable[..., DiskBlocks]) -> None:
    limit = 10 * MIB
    one, two = open_store(limit), open_store(limit)
    one.put_many([(key(1), block(1))])
    assert two.get(key(1)) == block(1)
    for number in range(2, 80):
        (one if number % 2 else two).put_many([(key(number), block(number))])
        assert on_disk(one) <= limit
    for store in (one, two):
        assert store.get(key(79)) == block(79)
        assert store.get(key(78)) == block(78)
        assert store.disabled_reason == ""


def test_readers_and_a_writer_at_once(open_store: Callable[..., DiskBlocks], caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(limit=8 * MIB)

    def read(seed: int) -> None:
        generator = random.Random(seed)
        for _ in range(300):
            number = generator.randrange(60)
            assert store.get(key(number)) in (None, block(number, BIG if number % 2 else 500))

    with ThreadPoolExecutor(5) as pool, caplog.at_level(logging.WARNING):
        readers = [pool.submit(read, seed) for seed in range(4)]
        for number in range(60):
            store.put_many([(key(number), block(number, BIG if number % 2 else 500))])
        for reader in readers:
            reader.result()
    assert store.disabled_reason == ""
    assert not caplog.text


def test_clearing_removes_everything_and_both_go_on(
    open_store: Callable[..., DiskBlocks], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = open_store(), open_store()
    for number in range(100):
        (one if number % 2 else two).put_many([(key(number), block(number, 20_000))])
    before = on_disk(one)
    with caplog.at_level(logging.WARNING):
        assert before / 2 < one.clear() <= before
        assert on_disk(one) < 200 * KIB
        assert (one.blocks, files(one)) == (0, [])
        two.tidy()
        assert two.blocks == 0
        for store, number in ((two, 1), (one, 2), (two, 3)):
            store.put_many([(key(number), block(number))])
    assert two.get(key(2)) == block(2)
    assert one.get(key(3)) == block(3)
    assert two.disabled_reason == one.disabled_reason == ""
    assert not caplog.text


def test_verify_finds_what_is_damaged_and_removes_it(open_store: Callable[..., DiskBlocks]) -> None:
    store = open_store(64 * MIB)
    for number in range(5):
        store.put_many([(key(number), block(number))])
    path = segment_with(store, block(2))
    at = path.read_bytes().index(block(2))
    with open(path, "r+b") as file:
        file.seek(at + 1000)
        file.write(b"damage")
    checked = list(store.verify(lambda name, _: name != key(4)))
    assert {name for name, _, good in checked if not good} == {key(2), key(4)}
    assert {name for name, _, good in checked if good} == {key(0), key(1), key(3)}
    assert all(size == BIG for _, size, _ in checked)
    assert all(good for _, _, good in store.verify(lambda *_: True))
    assert not store.contains(key(2))


@pytest.mark.parametrize("way", ["direct", "refused", "slow disk"])
def test_big_blocks_are_right_however_they_are_written(
    open_store: Callable[..., DiskBlocks], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "refused":
        monkeypatch.setattr(segments_module.Writer, "write_direct", lambda *_: False)
    if way == "slow disk":
        monkeypatch.setattr(segments_module, "SLOW_RATE", 1e15)
        monkeypatch.setattr(segments_module, "_RATE_BYTES", 2 * MIB)
    store = open_store()
    sizes = [MIB, 100_001, 3, MIB - 1, 64 * KIB, 64 * KIB - 1, 5 * MIB, 4096, 0, 2 * MIB + 7] * 2
    blocks = [(key(number), block(number, size)) for number, size in enumerate(sizes)]
    store.put_many(blocks)
    for one in blocks[::3]:
        store.put_many([(key(1000 + one[0][0][3]), one[1])])
    store.close()
    again = open_store()
    assert all(again.get(name) == data for name, data in blocks)
    assert all(again.get(key(1000 + name[0][3])) == data for name, data in blocks[::3])
    assert all(good for _, _, good in again.verify(lambda *_: True))
