"""The block cache: bounded, shared, may be deleted, damaged or without room at any time; the bytes stay right."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.box import Box, bytes_on_disk, wait_until

MIB = 1 << 20
FILES = {f"/file{number}": random.Random(number).randbytes(3 * MIB + number) for number in range(8)} | {
    f"/small/{number:03}": b"%d" % number * 999 for number in range(100)
}
DROP = "import os, sys; [os.posix_fadvise(os.open(p, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED) for p in sys.argv[1:]]"


def start(new_box: Callable[..., Box], **env: str) -> tuple[Box, Path]:
    """A box with FILES mounted, and where."""
    box = new_box(**env)
    repo = box.repo("cache")
    box.put(repo, FILES)
    box.mount(repo)
    return box, box.path(repo)


def assert_right(box: Box, top: Path) -> None:
    """Read everything, past the kernel's page cache, in another process."""
    names = [path[1:] for path in FILES]
    box.python(DROP, *(top / name for name in names))
    lines = box.out('cd "$1" && shift && sha256sum -- "$@"', top, *names, timeout=120).splitlines()
    shown = {line.split("  ", 1)[1]: line.split()[0] for line in lines}
    assert shown == {path[1:]: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}


def settle(box: Box) -> None:
    """Wait until everything that was fetched is on the disk, or was given up."""
    wait_until(lambda: box.status()["cache"]["write_queue"] == 0, "the blocks are written")
    seen = -1
    while seen != (seen := box.status()["cache"]["disk_bytes"]):
        pass


def block_files(box: Box) -> list[Path]:
    blocks = Path(box.status()["cache"]["directory"])
    return list(blocks.glob("*.segment"))


def test_deleted_while_in_use(new_box: Callable[..., Box]) -> None:
    box, top = start(new_box)
    assert_right(box, top)
    settle(box)
    blocks = Path(box.status()["cache"]["directory"])
    assert block_files(box)
    shutil.rmtree(box.root / "cache")
    assert_right(box, top)
    assert box.status()["mounts"][0]["counters"]["errors"] == 0
    other = box.repo("other")
    content = os.urandom(5 * MIB)
    box.put(other, {"/new": content})
    box.mount(other)
    assert box.path(other, "new").read_bytes() == content
    wait_until(lambda: blocks.is_dir() and block_files(box), "the cache is made anew")
    assert_right(box, top)


@pytest.fixture
def watched_size() -> Iterator[Callable[[Box], list[int]]]:
    """Watches the size of the cache on disk while a test reads: all sizes that were seen."""
    ended = threading.Event()
    watchers: list[threading.Thread] = []

    def watch(box: Box) -> list[int]:
        seen: list[int] = []
        blocks = Path(box.status()["cache"]["directory"])

        def look() -> None:
            while not ended.wait(0.01):
                seen.append(bytes_on_disk(blocks))

        watchers.append(threading.Thread(target=look))
        watchers[-1].start()
        return seen

    yield watch
    ended.set()
    for watcher in watchers:
        watcher.join()


def test_its_limit_is_never_exceeded(new_box: Callable[..., Box], watched_size: Callable[[Box], list[int]]) -> None:
    limit = 8 * MIB
    box, top = start(new_box, PACHMOUNT_CACHE_SIZE="8M", PACHMOUNT_MEMORY_SIZE="16M")
    seen = watched_size(box)
    for _ in range(2):
        assert_right(box, top)
        cache = box.status()["cache"]
        assert cache["disk_limit"] == limit
        assert 0 < cache["disk_bytes"] <= limit
        assert cache["memory_bytes"] <= cache["memory_limit"] == 16 * MIB
    settle(box)
    assert len(seen) > 10
    assert max(seen) <= limit


def test_without_any_room_reads_still_work(new_box: Callable[..., Box]) -> None:
    box, top = start(new_box, PACHMOUNT_CACHE_SIZE="0")
    assert_right(box, top)
    assert box.status()["cache"]["disk_bytes"] == 0
    assert block_files(box) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs")
def test_on_a_full_disk_reads_still_work(new_box: Callable[..., Box]) -> None:
    box = new_box(start=False)
    box.env["PACHMOUNT_CACHE_DIR"] = str(box.root / "tiny")
    (box.root / "tiny").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", box.root / "tiny"], check=True)
    try:
        box.start()
        repo = box.repo("full")
        box.put(repo, FILES)
        box.mount(repo)
        for _ in range(2):
            assert_right(box, box.path(repo))
        assert shutil.disk_usage(box.root / "tiny").used <= 4 * MIB
        assert box.mount_status(repo)["counters"]["errors"] == 0
        # somebody else fills it to the last byte
        subprocess.run(["dd", "if=/dev/zero", f"of={box.root}/tiny/x", "bs=64k"], check=False, capture_output=True)
        assert_right(box, box.path(repo))
        box.ok("daemon", "restart")
        assert_right(box, box.path(repo))
        assert "tiny" in box.status()["cache"]["directory"]
    finally:
        box.ok("daemon", "stop")
        subprocess.run(["umount", box.root / "tiny"], check=True)


def test_damaged_blocks_are_noticed_and_fetched_again(new_box: Callable[..., Box]) -> None:
    box, top = start(new_box)
    assert_right(box, top)
    settle(box)
    box.ok("daemon", "stop")
    damaged = [FILES[f"/file{number}"][MIB : MIB + 1000] for number in range(7)]
    for path in (box.root / "cache").rglob("*.segment"):
        data = bytearray(path.read_bytes())
        for number, beginning in enumerate(damaged):
            at = data.find(beginning)
            if at >= 0 and number % 2:
                data[at + 500_000] ^= 1
            elif at >= 0:
                data[at : at + MIB] = bytes(MIB)
        path.write_bytes(data)
    box.ok("daemon", "start")
    assert_right(box, top)
    fetched = box.status()["cache"]["fetched_bytes"]
    assert 7 * MIB <= fetched < 20 * MIB, "what was damaged, and not everything"
    assert "damaged" in box.places.log_file.read_text()


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000], ids=["empty", "garbage"])
def test_a_damaged_index_is_made_anew(new_box: Callable[..., Box], content: bytes) -> None:
    box, top = start(new_box)
    assert_right(box, top)
    settle(box)
    box.ok("daemon", "stop")
    (index,) = (box.root / "cache").rglob("index.sqlite")
    index.write_bytes(content)
    box.ok("daemon", "start")
    assert_right(box, top)
    settle(box)
    cache = box.status()["cache"]
    assert cache["disabled_reason"] == ""
    assert 0 < sum(path.stat().st_size for path in block_files(box)) <= cache["disk_bytes"]


def test_it_is_still_warm_after_a_restart(new_box: Callable[..., Box]) -> None:
    box, top = start(new_box)
    assert_right(box, top)
    settle(box)
    box.ok("daemon", "restart")
    assert_right(box, top)
    assert box.status()["cache"]["fetched_bytes"] == 0
    assert box.status()["cache"]["disk_hits"] > 0


def test_the_cache_commands_with_and_without_a_daemon(new_box: Callable[..., Box]) -> None:
    box, top = start(new_box)
    empty = json.loads(box.ok("cache", "info", "--json"))
    assert (empty["disk_blocks"], empty["contents"], empty["oldest_use"]) == (0, 0, None)
    assert_right(box, top)
    settle(box)
    before = box.status()["cache"]
    shown = json.loads(box.ok("cache", "info", "--json"))
    assert shown["directory"] == str(Path(before["directory"]).parent)
    assert {name: shown[name] for name in ("disk_blocks", "disk_limit")} == {
        name: before[name] for name in ("disk_blocks", "disk_limit")
    }
    assert shown["contents"] == len(FILES)
    assert 0 < shown["oldest_use"] <= time.time()
    checked = json.loads(box.ok("cache", "verify", "--json"))
    assert (checked["blocks"], checked["damaged"]) == (before["disk_blocks"], 0)
    assert checked["bytes"] == sum(map(len, FILES.values()))

    cleared = json.loads(box.ok("cache", "clear", "--json"))
    assert cleared["blocks"] == before["disk_blocks"]
    assert cleared["freed_bytes"] > checked["bytes"]
    assert block_files(box) == []
    wait_until(lambda: box.status()["cache"]["disk_blocks"] == 0, "the daemon's counters follow")
    assert_right(box, top)

    box.ok("daemon", "restart")  # what was in memory is gone, what is on disk is not
    assert_right(box, top)
    settle(box)
    box.ok("daemon", "stop")
    assert json.loads(box.ok("cache", "info", "--json"))["disk_blocks"] == before["disk_blocks"]
    assert "all good" in box.ok("cache", "verify")
    with open(next((box.root / "cache").rglob("*.segment")), "r+b") as file:
        file.write(b"damage")
    damaged = box.run("cache", "verify")
    assert damaged.returncode == 1
    assert damaged.stdout.startswith("1 damaged block of "), damaged
    assert "all good" in box.ok("cache", "verify")
    assert "freed" in box.ok("cache", "clear")
    box.ok("daemon", "start")
    assert_right(box, top)
    assert box.status()["cache"]["fetched_bytes"] >= sum(map(len, FILES.values()))
