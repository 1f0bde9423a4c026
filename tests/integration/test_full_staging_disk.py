"""The disk that changes are staged on is full: writing says so, nothing is lost, and there is a way out."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.box import EXTERNAL_CLUSTER, Box, wait_until
from tests.integration.kill_worker import tree

MIB = 1 << 20
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root"),
    pytest.mark.skipif(bool(EXTERNAL_CLUSTER), reason="the same with every server"),
]


@pytest.fixture
def box(new_box: Callable[..., Box]) -> Iterator[Box]:
    """A daemon with 16 MiB for staged changes."""
    box = new_box(start=False)
    small = box.places.lock_file.parent / "staged"
    small.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={16 * MIB}", "tmpfs", small], check=True)
    try:
        box.start()
        yield box
        box.stop()
        assert not box.log_problems()
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def fill(top: Path) -> dict[str, bytes]:
    """Write files until there is no room, first big ones, then ever smaller ones; those that were written whole."""
    written = {}
    for size in (MIB, 64 << 10, 4096, 1):
        for number in range(10_000):
            path, content = top / f"{size}-{number}", os.urandom(size)
            try:
                path.write_bytes(content)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                break
            written[path.name] = content
        else:
            raise AssertionError("the disk does not get full")
    return written


def complete(top: Path, written: dict[str, bytes]) -> bool:
    """Whether all that was written whole is there, as it was written."""
    found = tree(top)
    return all(found.get(name) == content for name, content in written.items())


def test_what_is_written_stays_and_deleting_makes_room(box: Box) -> None:
    repo = box.repo("full")
    box.put(repo, {"/one": b"one\n"})
    box.ok("mount", repo, "--rw")
    top = box.path(repo)
    written = fill(top)
    assert len(written) > 10
    assert complete(top, written)
    with pytest.raises(OSError, match="No space left"):
        (top / "more").write_bytes(bytes(MIB))

    os.kill(box.pid, signal.SIGKILL)
    wait_until(lambda: box.run("status").returncode != 0, "the daemon is gone")
    box.start()
    assert complete(top, written)

    for name in [name for name in written if name.startswith(f"{MIB}-")][:4]:
        (top / name).unlink()
        del written[name]
    content = os.urandom(2 * MIB)
    (top / "new").write_bytes(content)
    written["new"] = content
    assert complete(top, written)
    box.ok("commit", repo)
    assert complete(top, written)
    (top / "again").write_bytes(bytes(12 * MIB))


def test_a_commit_makes_room(box: Box) -> None:
    repo = box.repo("full")
    box.put(repo, {"/one": b"one\n"})
    box.ok("mount", repo, "--rw")
    top = box.path(repo)
    written = fill(top)
    box.ok("commit", repo)
    assert complete(top, written)
    (top / "again").write_bytes(bytes(12 * MIB))
    assert box.mount_status(repo)["staged"]["bytes"] == 12 * MIB
