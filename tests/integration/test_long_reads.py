"""Minutes of reading by programs that check what they get: fio and sha256sum, while mounts move and daemons die."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.box import Box, running_box
from tests.integration.wire import data

MIB = 1 << 20
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture
def small_cache(fuse: None) -> Iterator[Box]:
    with running_box({"PACHMOUNT_CACHE_SIZE": "128M", "PACHMOUNT_MEMORY_SIZE": "32M"}) as box:
        yield box


def fio(*options: str) -> None:
    if shutil.which("fio") is None:
        pytest.fail("fio is needed: scripts/setup --dev --long")
    done = subprocess.run(["fio", "--name=job", *options], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("direct", [0, 1], ids=["buffered", "direct"])
@pytest.mark.parametrize("jobs", [1, 4])
@pytest.mark.parametrize("order", ["read", "randread"])
def test_fio_verifies_every_block(small_cache: Box, order: str, jobs: int, direct: int) -> None:
    box = small_cache
    source = box.root / "source"
    source.mkdir()
    same = ("--size=192m", "--bs=64k", "--verify=crc32c")
    fio("--rw=write", f"--filename={source / 'file'}", "--do_verify=0", *same)
    repo = box.repo("fio")
    box.ok("import", str(source), repo, timeout=300)
    box.mount(repo)
    shown = f"--filename={box.path(repo, 'file')}"
    fio(f"--rw={order}", shown, f"--numjobs={jobs}", f"--direct={direct}", "--verify_fatal=1", "--readonly", *same)


def test_checksums_hold_while_the_mount_moves_and_the_cache_overflows(small_cache: Box) -> None:
    box = small_cache
    files = {f"/{number % 10}/{number:04}": data(number, 1009 * number % 300_000) for number in range(1500)}
    source = box.root / "tree"
    for path, content in files.items():
        target = source / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    sums = box.sh(f"cd {source} && find . -type f -print0 | xargs -0 sha256sum > {box.root}/sums", timeout=300)
    assert sums.returncode == 0
    repo = box.repo("sums")
    box.ok("import", str(source), repo, timeout=300)
    box.mount(repo)
    stop = threading.Event()

    def move() -> None:
        number = 0
        while not stop.wait(0.5):
            number += 1
            box.put(repo, {"/moving": b"%d" % number})
            box.refresh(repo)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        for _ in range(4):
            checked = box.sh(f"cd {box.path(repo)} && sha256sum --quiet -c {box.root}/sums", timeout=600)
            assert checked.returncode == 0, checked.stdout + checked.stderr
    finally:
        stop.set()
        mover.join()
    status = box.status()
    assert status["cache"]["disk_bytes"] <= 128 * MIB
    assert status["rss_bytes"] < 400 * MIB
    assert status["threads"] < 100


def test_a_killed_daemon_comes_back_and_shows_the_truth(small_cache: Box) -> None:
    box = small_cache
    content = data("killed", 64 * MIB)
    repo = box.repo("killed")
    box.put(repo, {"/file": content})
    box.mount(repo)
    path: Path = box.path(repo, "file")
    for offset in range(0, 64 * MIB, 16 * MIB):
        with path.open("rb") as stream:
            stream.seek(offset)
            assert stream.read(MIB) == content[offset : offset + MIB]
        os.kill(box.pid, signal.SIGKILL)
        box.ok("daemon", "start")
        assert path.read_bytes() == content
    box.log_problems()
