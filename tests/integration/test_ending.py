"""Ending works wherever nothing can be written: full and read-only disks below all that is ours."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.box import EXTERNAL_CLUSTER, Box, wait_until

MIB = 1 << 20
OURS = ("home", "run", "cache", "state", "data", "config", "tmp")
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root"),
    pytest.mark.skipif(bool(EXTERNAL_CLUSTER), reason="the same with every server"),
    pytest.mark.usefixtures("fuse"),
]


class Disk:
    """A small disk with all directories that are ours, and a daemon that uses them."""

    def __init__(self, top: Path, *, apart: str = "") -> None:
        """`apart` is a directory that stays as it is whatever happens to the disk."""
        self.top = top
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={48 * MIB}", "tmpfs", top], check=True)
        for name in OURS:
            (top / name).mkdir(mode=0o700)
        self.apart = Path(tempfile.mkdtemp(prefix="pm-"))
        self._covered: list[Path] = []
        places = {name: self.apart if name == apart else top / name for name in OURS}
        env = {f"XDG_{name.upper()}_HOME": str(places[name]) for name in ("cache", "state", "data", "config")}
        env |= {"XDG_RUNTIME_DIR": str(places["run"]), "HOME": str(places["home"]), "TMPDIR": str(places["tmp"])}
        self.box = Box(env)

    def fill(self) -> None:
        """Leave no byte, and nothing that a file may be made of."""
        with open(self.top / "filler", "wb", buffering=0) as filler:
            for size in (MIB, 4096):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:
                    pass
        inodes = os.statvfs(self.top).f_ffree
        assert os.statvfs(self.top).f_bfree == 0 or inodes == 0

    def protect(self) -> None:
        """Let nothing be written any more."""
        for name in OURS:
            subprocess.run(["mount", "--bind", self.top / name, self.top / name], check=True)
            self._covered.append(self.top / name)
            subprocess.run(["mount", "-o", "remount,ro,bind", self.top / name], check=True)

    def heal(self) -> None:
        (self.top / "filler").unlink(missing_ok=True)
        while self._covered:
            subprocess.run(["umount", "-l", self._covered.pop()], check=True)

    def close(self) -> None:
        self.heal()
        self.box.stop()
        self.box.close()
        subprocess.run(["umount", "-l", self.top], check=True)
        shutil.rmtree(self.apart, ignore_errors=True)


@pytest.fixture
def new_disk() -> Iterator[Callable[..., Disk]]:
    made: list[Disk] = []

    def make(**options: str) -> Disk:
        made.append(Disk(Path(tempfile.mkdtemp(prefix="pm-")), **options))
        return made[-1]

    yield make
    for disk in made:
        disk.close()
        disk.top.rmdir()


FAULTS: dict[str, Callable[[Disk], None]] = {"full": Disk.fill, "read-only": Disk.protect}


def mounted(disk: Disk) -> str:
    repo = disk.box.repo("r")
    disk.box.put(repo, {"/a": b"1", "/b": b"2"})
    for name in ("one", "two", "followed"):
        disk.box.mount(repo, name)
    disk.box.ok("follow", "followed")
    for name in ("kept", "dropped", "given-up"):
        disk.box.mount(repo, name, mode="rw")
        (disk.box.path(name) / "new").write_bytes(b"staged")
    return repo


def in_kernel(disk: Disk) -> set[str]:
    return {Path(mount.mountpoint).name for mount in disk.box.mounts_in_kernel()}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_command_that_ends_something_works(new_disk: Callable[..., Disk], fault: str) -> None:
    disk = new_disk()
    box = disk.box
    box.start()
    repo = mounted(disk)
    everything = in_kernel(disk)
    FAULTS[fault](disk)
    box.ok("unmount", "one")
    box.ok("follow", "followed", "--off")
    box.ok("discard", "given-up", "--yes")
    assert not (box.path("given-up") / "new").exists()
    box.ok("unmount", "kept", "--keep")
    box.ok("unmount", "dropped", "--discard", "--yes")
    assert in_kernel(disk) == {"two", "followed", "given-up"}
    assert ("cannot be saved" in box.ok("status")) == (fault == "read-only")
    box.ok("unmount", "--all", "--keep", "--yes")
    assert in_kernel(disk) == set()
    box.ok("daemon", "stop")
    disk.heal()
    box.start()
    if fault == "read-only":
        assert in_kernel(disk) == everything, "nothing could tell the next daemon that they were unmounted"
        assert not (box.path("dropped") / "new").exists()
        return
    assert in_kernel(disk) == set()
    box.mount(repo, "kept", mode="rw")
    assert (box.path("kept") / "new").read_bytes() == b"staged"


@pytest.mark.parametrize("fault", FAULTS)
def test_datums_and_logins_end(new_disk: Callable[..., Disk], fault: str) -> None:
    disk = new_disk()
    box = disk.box
    box.start()
    repo = mounted(disk)
    box.ok("datum", "mount", "--pfs", f"{repo}:/*")
    FAULTS[fault](disk)
    box.ok("datum", "unmount")
    assert "one" in in_kernel(disk)
    box.ok("logout")
    disk.heal()


@pytest.mark.parametrize("how", ["stop", "SIGTERM"])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_daemon_ends_and_comes_back_as_it_was(new_disk: Callable[..., Disk], fault: str, how: str) -> None:
    disk = new_disk()
    box = disk.box
    box.start()
    mounted(disk)
    before = in_kernel(disk)
    pid = box.pid
    FAULTS[fault](disk)
    box.ok("unmount", "two")
    if how == "stop":
        box.ok("daemon", "stop")
    else:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "it ended")
    assert in_kernel(disk) == set()
    disk.heal()
    box.start()
    expected = before - {"two"} if fault == "full" else before
    assert in_kernel(disk) == expected, "what was unmounted comes back only where nothing at all could be written"
    assert (box.path("kept") / "new").read_bytes() == b"staged"


def test_the_runtime_directory_remembers_what_the_table_cannot(new_disk: Callable[..., Disk]) -> None:
    disk = new_disk(apart="run")
    box = disk.box
    box.start()
    mounted(disk)
    before = in_kernel(disk)
    disk.protect()
    box.ok("unmount", "two")
    box.ok("daemon", "stop")
    disk.heal()
    box.start()
    assert in_kernel(disk) == before - {"two"}
    box.ok("unmount", "one")
    box.ok("daemon", "restart")
    assert in_kernel(disk) == before - {"two", "one"}
