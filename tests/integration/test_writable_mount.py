"""A read-write mount in the hands of the kernel and of programs: what works on a disk works here."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachmount.fuse import kernel
from tests.integration.overlay_process import LIMIT
from tests.unit.overlay.base import TREE

PROJECT = Path(__file__).resolve().parents[2]


class Mounted:
    """The mount at `path`; `kill` and `start` end and begin its process."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "mount"
        self.path.mkdir()
        self.staged = directory / "staged"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.integration.overlay_process", str(self.path), str(self.staged)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)
        self._close_pipes()
        kernel.detach_all(self.path)

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.path, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounted]:
    mounted = Mounted(tmp_path)
    try:
        yield mounted
    finally:
        if mounted.process.poll() is None:
            mounted.stop()
        kernel.detach_all(mounted.path)


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_it_shows_the_commit_and_takes_changes(mounted: Mounted) -> None:
    assert tree(mounted.path) == TREE
    (mounted.path / "five").write_bytes(b"changed")
    with (mounted.path / "b" / "four").open("ab") as file:
        file.write(b"more")
    (mounted.path / "a").rename(mounted.path / "moved")
    (mounted.path / "new").mkdir()
    (mounted.path / "moved" / "one").rename(mounted.path / "new" / "one")
    expected = {
        "five": b"changed",
        "b/four": TREE["b/four"] + b"more",
        "moved/two": TREE["a/two"],
        "moved/deep/three": b"",
        "new/one": b"first",
    }
    assert tree(mounted.path) == expected
    mounted.stop()
    mounted.start()
    assert tree(mounted.path) == expected


def test_what_was_closed_or_synced_survives_a_kill(mounted: Mounted) -> None:
    (mounted.path / "closed").write_bytes(b"c" * 300_000)
    descriptor = os.open(mounted.path / "synced", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"s" * 200_000)
    os.fsync(descriptor)
    mounted.kill()
    with contextlib.suppress(OSError):  # the file system is gone
        os.close(descriptor)
    mounted.start()
    assert (mounted.path / "closed").read_bytes() == b"c" * 300_000
    assert (mounted.path / "synced").read_bytes() == b"s" * 200_000


def test_a_file_deleted_while_open_is_still_a_file(mounted: Mounted) -> None:
    for name in ("five", "new"):
        with (mounted.path / name).open("ab+", buffering=0) as file:
            file.write(b"appended")
            (mounted.path / name).unlink()
            file.seek(0)
            assert file.read() == TREE.get(name, b"") + b"appended"
            os.ftruncate(file.fileno(), 3)
            assert os.fstat(file.fileno()).st_size == 3
            assert os.fstat(file.fileno()).st_nlink == 0
        assert not (mounted.path / name).exists()
    assert not any(path.name.startswith(".fuse_hidden") for path in mounted.path.iterdir())


def test_two_names_of_one_file(mounted: Mounted) -> None:
    one, other = mounted.path / "five", mounted.path / "six"
    os.link(one, other)
    assert one.stat().st_nlink == other.stat().st_nlink == 2
    assert one.stat().st_ino == other.stat().st_ino
    assert other.read_bytes() == b"five\n"
    one.write_bytes(b"longer than before")
    assert other.read_bytes() == b"longer than before"
    one.unlink()
    assert other.stat().st_nlink == 1


def test_shared_memory_maps_are_written(mounted: Mounted) -> None:
    path = mounted.path / "b" / "four"
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[69_990:70_000] = b"0123456789"
        mapped[:3] = b"abc"
        mapped.flush()
    assert path.read_bytes() == b"abc" + TREE["b/four"][3:69_990] + b"0123456789"


def test_appends_of_several_processes_are_all_there(mounted: Mounted) -> None:
    program = "import os; fd = os.open('log', os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n" + (
        "for n in range(200): os.write(fd, b'%08d\\n' % n)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program], cwd=mounted.path) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    lines = (mounted.path / "log").read_text().split()
    assert sorted(lines) == sorted(f"{number:08}" for number in range(200) for _ in range(3))


def test_programs(mounted: Mounted, tmp_path: Path) -> None:
    mounted.run("sed", "-i", "s/five/FIVE/", "five")
    assert (mounted.path / "five").read_bytes() == b"FIVE\n"
    mounted.run("cp", "-a", "a", "copy")
    mounted.run("diff", "-r", "a", "copy")
    with tarfile.open(tmp_path / "some.tar", "w") as archive:
        archive.add(PROJECT / "pachmount" / "overlay", "overlay")
    mounted.run("tar", "xf", str(tmp_path / "some.tar"))
    mounted.run("diff", "-r", "overlay", str(PROJECT / "pachmount" / "overlay"))
    mounted.run("rm", "-r", "overlay", "copy", "a")
    assert sorted(path.name for path in mounted.path.iterdir()) == ["b", "five"]


def test_a_database(mounted: Mounted) -> None:
    for journal in ("DELETE", "WAL"):
        with sqlite3.connect(mounted.path / f"{journal}.sqlite") as db:
            db.execute(f"PRAGMA journal_mode = {journal}")
            db.execute("CREATE TABLE numbers (number)")
            db.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(10_000)])
        db.close()
        with sqlite3.connect(mounted.path / f"{journal}.sqlite") as db:
            assert db.execute("SELECT sum(number) FROM numbers").fetchone() == (49_995_000,)
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()


def test_attributes_are_kept(mounted: Mounted) -> None:
    path = mounted.path / "five"
    path.chmod(0o640)
    os.utime(path, ns=(1_500_000_000_123_456_789, 1_600_000_000_987_654_321))
    os.setxattr(path, "user.note", b"mine")
    os.symlink("five", mounted.path / "link")
    for _ in range(2):
        info = path.stat()
        assert (info.st_mode & 0o777, info.st_atime_ns, info.st_mtime_ns) == (
            0o640,
            1_500_000_000_123_456_789,
            1_600_000_000_987_654_321,
        )
        assert os.getxattr(path, "user.note") == b"mine"
        assert (mounted.path / "link").read_bytes() == b"five\n"
        mounted.kill()
        mounted.start()


def test_there_is_as_much_space_as_may_be_staged(mounted: Mounted) -> None:
    numbers = os.statvfs(mounted.path)
    assert 0 < numbers.f_bavail * numbers.f_frsize <= LIMIT
    with pytest.raises(OSError, match="No space left"):
        (mounted.path / "much").write_bytes(bytes(LIMIT + (2 << 20)))
    (mounted.path / "much").unlink()
    (mounted.path / "little").write_bytes(b"fits")
    assert (mounted.path / "little").read_bytes() == b"fits"
