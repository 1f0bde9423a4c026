"""One cache directory and several processes, some of which are killed while they write."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pachmount.cache import disk as disk_module
from pachmount.cache.blocks import BlockKey
from pachmount.cache.disk import DiskBlocks
from tests.integration.box import bytes_on_disk

MIB = 1 << 20
LIMIT = 24 * MIB
KEYS = 400
"""More than fit, so that segments are dropped all the time."""
SIZES = (100, 4096, 70_001, 300_000)

WRITER = """
import random, sys
from pathlib import Path
from pachmount.cache import disk
from tests.integration.test_cache_processes import KEYS, LIMIT, block, key

disk.FREE_SPACE_FLOOR = 0.0
store = disk.DiskBlocks(Path(sys.argv[1]), LIMIT)
choice = random.Random(int(sys.argv[2]))
while True:
    numbers = choice.sample(range(KEYS), 12)
    store.put_many([(key(number), block(number)) for number in numbers])
    for number in numbers:
        data = store.get(key(number))
        if data not in (None, block(number)):
            sys.exit(f"block {number} is wrong")
    store.tidy()
    if store.disabled_reason:
        sys.exit(store.disabled_reason)
    print(store.blocks, flush=True)
"""


def key(number: int) -> BlockKey:
    return (number.to_bytes(4, "big") * 8, number % 5)


def block(number: int) -> bytes:
    return random.Random(number).randbytes(SIZES[number % len(SIZES)])


def start(directory: Path, seed: int) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", WRITER, str(directory), str(seed)]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    process.kill()
    return process.communicate(timeout=30)


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of the machine that runs the tests may be nearly full."""
    monkeypatch.setattr(disk_module, "FREE_SPACE_FLOOR", 0.0)


@pytest.mark.parametrize("rounds", [8, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.timeout(900)
def test_killed_while_it_writes(tmp_path: Path, rounds: int) -> None:
    directory, chance = tmp_path / "blocks", random.Random(rounds)
    found = 0
    for number in range(rounds):
        process = start(directory, number)
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), process.communicate()[1]  # it is writing
            time.sleep(chance.uniform(0, 0.15))  # not a wait for something: a random moment to be killed at
            assert process.poll() is None
        finally:
            _, errors = end(process)
        assert process.returncode == -signal.SIGKILL, errors
        store = DiskBlocks(directory, LIMIT)
        try:
            kept = {name: store.get(key(name)) for name in range(KEYS)}
            assert all(data in (None, block(name)) for name, data in kept.items())
            assert all(good for _, _, good in store.verify(lambda name, data: data == block(_number(name))))
            found = sum(data is not None for data in kept.values())
            assert found == store.blocks
            store.put_many([(key(0), block(0))])
            assert store.get(key(0)) == block(0)
            assert not store.disabled_reason
            assert bytes_on_disk(directory) <= LIMIT
        finally:
            store.close()
    assert found > 10, "what was written before outlives the kills"


def test_processes_share_a_directory_and_its_limit_while_one_of_them_is_killed(tmp_path: Path) -> None:
    directory = tmp_path / "blocks"
    processes = [start(directory, seed) for seed in range(3)]
    seen = []
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline(), process.communicate()[1]
        until = time.monotonic() + 2
        while time.monotonic() < until:
            seen.append(bytes_on_disk(directory))
        processes[0].kill()
        assert processes[1].stdout is not None
        for _ in range(20):
            assert processes[1].stdout.readline(), "the others go on"
        seen.append(bytes_on_disk(directory))
    finally:
        errors = [end(process)[1] for process in processes]
    assert errors == ["", "", ""]
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 3
    assert max(seen) <= LIMIT


def _number(name: BlockKey) -> int:
    return int.from_bytes(name[0][:4], "big")
