"""mount(8), fstab and umount(8) with `mount.fuse.pachmount`, as root on this machine."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pachmount import paths
from tests.integration.box import Box, wait_until

HELPER = Path("/sbin/mount.fuse.pachmount")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount with mount(8) and link into /sbin")


class Machine:
    """A machine whose mount(8) knows fuse.pachmount, with the store and the files of a box for a home."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.directory = box.root / "mnt"
        self.directory.mkdir()
        self.home = box.root / "h"
        self.home.mkdir()
        self.env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        self.repo = box.repo("fstab")
        self.first = box.put(self.repo, {"/file": b"text", "/d/deep": b"deep"})
        self.address = box.address

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*map(str, command)], capture_output=True, text=True, timeout=90, env=self.env, cwd="/", check=False
        )

    def mount(self, options: str = "", source: str = "") -> subprocess.CompletedProcess[str]:
        """`mount -t fuse.pachmount`, with a home for the daemon's files."""
        given = ",".join(filter(None, [f"home={self.home},config={self.box.env['PACH_CONFIG']}", options]))
        return self.run("mount", "-t", "fuse.pachmount", source or self.repo, self.directory, "-o", given)

    @property
    def daemons(self) -> list[int]:
        mark = f"--mount-dir\0{self.directory}\0".encode()
        return [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if mark in _command(pid)]

    @property
    def is_mounted(self) -> bool:
        return any(entry.mountpoint == str(self.directory) for entry in self.box.mounts_in_kernel())

    def pachmount(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line for the daemon of the mount point."""
        env = {**self.env, "HOME": str(self.home)}
        command = [sys.executable, "-m", "pachmount", *arguments, "--mount-dir", str(self.directory)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, cwd="/", check=False)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def machine(new_box: Callable[..., Box]) -> Iterator[Machine]:
    """The link in /sbin is made and removed again; a real installation is left alone."""
    if os.path.lexists(HELPER):
        pytest.fail(f"{HELPER} is there already: an installation, or what a killed test left")
    box = new_box()
    machine = Machine(box)
    served = box.server()
    box.ok("login", served.address)  # a context file that names a cluster
    machine.first = box.put(machine.repo, {"/file": b"text", "/d/deep": b"deep"})
    helper = box.root / "helper"
    helper.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pachmount.cli.mount_helper "$@"\n')
    helper.chmod(0o755)
    try:
        HELPER.symlink_to(helper)
        yield machine
    finally:
        HELPER.unlink(missing_ok=True)
        machine.run("umount", "-l", machine.directory)
        wait_until(lambda: not machine.daemons, "the daemon ends with its mount", 60)


def test_mount_and_umount(machine: Machine) -> None:
    done = machine.mount()
    assert done.returncode == 0, done
    assert (machine.directory / "file").read_text() == "text"
    listed = machine.run("findmnt", "-n", "-t", "fuse.pachmount", "-o", "SOURCE,FSTYPE,OPTIONS", machine.directory)
    assert listed.stdout.split()[:2] == [f"pachmount:default/{machine.repo}@{machine.first}", "fuse.pachmount"]
    assert {"ro", "nosuid", "nodev"} <= set(listed.stdout.split()[2].split(","))
    status = machine.pachmount("status")
    assert f"{machine.repo}@master" in status.stdout, status
    [daemon] = machine.daemons
    assert machine.mount().returncode == 0, "the same again is fine"
    assert machine.daemons == [daemon]
    assert machine.run("umount", machine.directory).returncode == 0
    assert not machine.is_mounted
    wait_until(lambda: not machine.daemons, "the daemon ends with its mount")
    assert os.listdir(machine.directory) == []
    assert machine.mount().returncode == 0, "and again"
    assert (machine.directory / "file").read_text() == "text"


def test_fstab(machine: Machine) -> None:
    fstab = machine.box.root / "fstab"
    own = f"home={machine.home},config={machine.box.env['PACH_CONFIG']},project=default,cache-size=1G,uid=65534,gid=12"
    generic = "ro,nofail,_netdev,allow_other,noatime,x-systemd.automount,x-systemd.idle-timeout=60"
    fstab.write_text(f"{machine.repo}@master:/d {machine.directory} fuse.pachmount {generic},{own} 0 0\n")
    done = machine.run("mount", "-a", "-T", fstab)
    assert done.returncode == 0, done
    assert (machine.directory / "d" / "deep").read_text() == "deep"
    info = (machine.directory / "d" / "deep").stat()
    assert (info.st_uid, info.st_gid) == (65534, 12)
    [entry] = [entry for entry in machine.box.mounts_in_kernel() if entry.mountpoint == str(machine.directory)]
    assert entry.fs_type == "fuse.pachmount"
    options = machine.run("findmnt", "-n", "-o", "OPTIONS", machine.directory).stdout
    assert "allow_other" in options
    assert '"disk_limit": 1073741824' in machine.pachmount("status", "--json").stdout
    assert machine.run("mount", "-a", "-T", fstab).returncode == 0, "all are mounted already"
    assert len(machine.daemons) == 1
    assert machine.run("umount", "-a", "-t", "fuse.pachmount", "-T", fstab).returncode in (0, 1)
    machine.run("umount", machine.directory)
    assert not machine.is_mounted


def test_writing_is_asked_for_and_outlives_umount(machine: Machine) -> None:
    assert machine.mount("rw").returncode == 0
    with pytest.raises(OSError, match="Read-only"):
        (machine.directory / "new").write_text("x")
    machine.run("umount", machine.directory)
    wait_until(lambda: not machine.daemons, "the daemon ends with its mount")
    assert machine.mount("mode=rw").returncode == 0
    (machine.directory / "new").write_text("staged")
    assert machine.run("umount", machine.directory).returncode == 0
    wait_until(lambda: not machine.daemons, "the daemon ends with its mount")
    assert machine.mount("mode=rw").returncode == 0
    assert (machine.directory / "new").read_text() == "staged"
    machine.pachmount("discard", machine.repo, "--all", "--yes")


@pytest.mark.parametrize(
    ("options", "source", "code", "said"),
    [
        ("cash_size=1G", "", 1, "did you mean 'cache_size'?"),
        ("follows", "", 1, "did you mean 'follow'?"),
        ("mode=rw,ro", "", 1, "exclude each other"),
        ("mode=wr", "", 1, "it is ro or rw"),
        ("commit=", "", 1, "needs a value"),
        ("home=somewhere", "", 1, "it is a path from '/' on"),
        ("cache_size=much", "", 32, "cache_size"),
        ("", "no/such/repo", 1, "invalid source"),
        ("", "nosuchrepo", 32, "nosuchrepo"),
        ("project=nosuch", "", 32, "nosuch"),
        ("", "", 0, ""),
    ],
)
def test_exit_codes(machine: Machine, options: str, source: str, code: int, said: str) -> None:
    done = machine.mount(options, source)
    assert done.returncode == code, done
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert machine.is_mounted == (code == 0)
    wait_until(lambda: len(machine.daemons) == (code == 0), "no daemon is left after a failure")


def test_fake_sloppy_and_verbose(machine: Machine) -> None:
    where = [machine.repo, machine.directory, "-o", f"home={machine.home},config={machine.box.env['PACH_CONFIG']}"]
    assert machine.run(HELPER, *where, "-f").returncode == 0
    assert not machine.is_mounted
    assert machine.run(HELPER, *where, "-o", "mystery").returncode == 1
    done = machine.run(HELPER, *where, "-sv", "-o", "mystery")
    assert (done.returncode, "mounted at" in done.stderr) == (0, True)


def test_without_environment_places_are_the_systems_for_root_and_the_homes_for_others(tmp_path: Path) -> None:
    from pachmount.cli.mount_helper import prepare, read_options

    root: dict[str, str] = {}
    prepare(root, read_options(["rw,cache-dir=/data/c,uid=7,allow_other,user_xattr=1"], sloppy=True))
    found = paths.places(tmp_path, root)
    assert str(found.socket).startswith("/run/pachmount/")
    assert str(found.mounts_file).startswith("/var/lib/pachmount/")
    assert str(paths.config_dir(root)) == "/etc/pachmount"
    assert root["HOME"]
    assert root["PACHMOUNT_CACHE_DIR"] == "/data/c"
    assert root["PACHMOUNT_FILE_OWNER"] == "7"
    assert root["PACHMOUNT_ALLOW_OTHER"] == "true"
    other = {"XDG_STATE_HOME": "/elsewhere"}
    prepare(other, read_options([f"home={tmp_path}"]))
    assert paths.state_dir(other) == tmp_path / ".local/state/pachmount"


def test_a_mount_that_is_taken_away_is_forgotten_and_can_be_made_anew(new_box: Callable[..., Box]) -> None:
    box = new_box()
    repo = box.repo("taken")
    box.put(repo, {"/file": b"text"})
    box.mount(repo)
    for _ in range(5):
        box.out('umount "$1"', box.path(repo))
        box.ok("mount", repo)
        assert box.out('cat "$1"', box.path(repo, "file")) == "text", "also where it was not noticed yet"
    box.out('umount "$1"', box.path(repo))
    wait_until(lambda: box.status()["mounts"] == [], "the daemon notices")
    assert not box.path(repo).exists()
    box.ok("daemon", "restart")
    assert box.status()["mounts"] == []
