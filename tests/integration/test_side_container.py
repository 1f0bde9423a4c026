"""The daemon in a container of its own: its mounts appear, move and vanish in that of the user.

Containers are mount namespaces here, as on a Kubernetes node: the volume is a shared mount of the node, which the side
container has with `mountPropagation: Bidirectional` (a peer) and the user's with `HostToContainer` (a slave).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.integration.box import Box, wait_until
from tests.integration.strangers import GID, UID, Stranger, device_mode

PACHMOUNT = [sys.executable, "-m", "pachmount"]
SOMEBODY = ["setpriv", "--reuid", str(UID), "--regid", str(GID), "--clear-groups", "--"]


class Namespace:
    """A mount namespace that lasts until `close`; made within another one, or within ours."""

    def __init__(self, propagation: str, env: dict[str, str], within: Namespace | None = None) -> None:
        self.env = env
        hold = ["unshare", "--mount", "--propagation", propagation, "sh", "-c", "echo; exec sleep infinity"]
        inside = within.command(hold) if within is not None else hold
        self._holder = subprocess.Popen(inside, stdout=subprocess.PIPE, cwd="/")
        assert self._holder.stdout is not None
        self._holder.stdout.readline()

    def command(self, command: Sequence[str | Path]) -> list[str]:
        return ["nsenter", "--target", str(self._holder.pid), "--mount", "--", *map(str, command)]

    def run(self, *command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a program inside."""
        return subprocess.run(
            self.command(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            env={**self.env, **env},
            cwd="/",
            check=False,
        )

    def ok(self, *command: str | Path, **env: str) -> str:
        done = self.run(*command, **env)
        assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stderr}"
        return done.stdout

    def close(self) -> None:
        self._holder.kill()
        self._holder.communicate()


class Pod:
    """A node's volume and two containers: `side` with the daemon, `user` with a home of its own."""

    def __init__(self, box: Box, program: list[str] = PACHMOUNT, daemon: list[str] = PACHMOUNT, **env: str) -> None:
        self.box = box
        self.program = program
        self.daemon_program = daemon
        self.volume = box.root / "volume"
        self.volume.mkdir()
        box.env |= {
            "PFS_MOUNT_DIR": str(self.volume / "pfs"),
            "PFS_SOCK_PATH": str(self.volume / "run" / "pachmount.sock"),
            "SIDECAR_MODE": "1",
            **env,
        }
        self.node = Namespace("private", box.env)
        self.node.ok("mount", "-t", "tmpfs", "volume", self.volume)
        self.node.ok("mount", "--make-rshared", self.volume)
        self.node.ok("mkdir", self.volume / "pfs", self.volume / "run")
        self.side = Namespace("unchanged", box.env, self.node)
        homes = {key: f"{value}-user" for key, value in box.env.items() if key.startswith("XDG_")}
        self.user = Namespace("slave", {**box.env, **homes}, self.node)
        self.daemon: subprocess.Popen[bytes] | None = None

    def start_daemon(self) -> None:
        log = open(self.box.root / "daemon.out", "ab")  # noqa: SIM115 (closed below)
        with log:
            command = self.side.command([*self.daemon_program, "daemon", "run"])
            self.daemon = subprocess.Popen(command, env=self.side.env, stderr=log, cwd="/")
        wait_until(
            lambda: self.user.run(*self.program, "status").returncode == 0, "the user's container sees the daemon"
        )

    def stop_daemon(self, number: int = signal.SIGTERM) -> None:
        if self.daemon is not None:
            self.daemon.send_signal(number)
            self.daemon.wait(60)
            self.daemon = None

    def pachmount(self, *arguments: str) -> str:
        """A command in the user's container, which must succeed; its answer."""
        return self.user.ok(*self.program, *arguments)

    def seen(self, *below: str) -> str:
        """The files of the mount directory that the user's container sees."""
        return self.user.ok("ls", self.volume.joinpath("pfs", *below))

    def mounts(self) -> list[str]:
        """Our mounts in the volume, as lines of the mount table of the user's container."""
        lines = self.user.ok("cat", "/proc/mounts").splitlines()
        return [line for line in lines if " fuse.pachmount " in line and str(self.volume) in line]

    def close(self) -> None:
        self.stop_daemon()
        for namespace in (self.user, self.side, self.node):
            namespace.close()


@pytest.fixture
def pod(new_box: Callable[..., Box]) -> Iterator[Pod]:
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts that others see")
    pod = Pod(new_box(start=False))
    try:
        pod.start_daemon()
        yield pod
    finally:
        pod.close()
    assert str(pod.box.root) not in Path("/proc/mounts").read_text()


@pytest.fixture
def data(pod: Pod) -> Path:
    """A directory with one file, imported as the repo `images`."""
    directory = pod.box.root / "photos"
    directory.mkdir()
    (directory / "a.txt").write_text("first")
    pod.pachmount("import", str(directory), "images")
    return directory


def test_mounts_appear_move_and_vanish(pod: Pod, data: Path) -> None:
    pod.pachmount("mount", "images")
    assert pod.seen("images") == "a.txt\n"
    (data / "b.txt").write_text("second")
    pod.pachmount("import", str(data), "images")
    assert pod.seen("images") == "a.txt\n"
    pod.pachmount("refresh", "images")
    assert pod.seen("images") == "a.txt\nb.txt\n"
    assert pod.user.ok("cat", pod.volume / "pfs/images/b.txt") == "second"
    mounts = "".join(pod.mounts())
    assert mounts.count(" fuse.pachmount ") == 1  # nothing is left of the former one
    pod.pachmount("unmount", "images")
    assert pod.seen() == ""
    assert pod.mounts() == []


def test_a_mount_that_follows_moves_there_too(pod: Pod, data: Path) -> None:
    pod.pachmount("mount", "images", "--follow")
    (data / "b.txt").write_text("second")
    pod.pachmount("import", str(data), "images")
    wait_until(lambda: "b.txt" in pod.seen("images"), "the mount has moved")


def test_changes_made_there_are_committed_when_the_daemon_stops(pod: Pod, data: Path) -> None:
    pod.pachmount("mount", "images", "--rw")
    pod.user.ok("sh", "-c", 'echo more > "$1"', "sh", pod.volume / "pfs/images/new.txt")
    pod.stop_daemon()
    assert pod.seen() == ""
    pod.start_daemon()
    assert "new.txt" in pod.pachmount("list", "images@master")


def test_other_users_read_but_do_not_command(pod: Pod, data: Path) -> None:
    pod.pachmount("mount", "images")
    pod.node.ok("chmod", "755", pod.box.root)
    assert pod.user.ok(*SOMEBODY, "cat", pod.volume / "pfs/images/a.txt") == "first"
    assert pod.user.run(*SOMEBODY, "test", "-w", pod.volume / "run/pachmount.sock").returncode == 1


def test_the_daemon_is_never_started_in_the_users_container(pod: Pod, data: Path) -> None:
    pod.stop_daemon()
    done = pod.user.run(*PACHMOUNT, "mount", "images")
    assert done.returncode == 69
    assert done.stderr.startswith("error: the daemon is not running — nothing listens on ")
    assert done.stderr.endswith("hint: there: pachmount daemon run\n")
    assert not list(pod.box.process_ids())


@pytest.mark.parametrize("whole_container", [False, True])
def test_what_a_killed_daemon_leaves_is_cleared_and_mounted_again(pod: Pod, data: Path, whole_container: bool) -> None:
    pod.pachmount("mount", "images")
    pod.stop_daemon(signal.SIGKILL)
    assert "not connected" in pod.user.run("ls", pod.volume / "pfs/images").stderr
    if whole_container:
        pod.side.close()
        pod.side = Namespace("unchanged", pod.box.env, pod.node)
    pod.start_daemon()
    assert pod.seen("images") == "a.txt\n"
    assert len(pod.mounts()) == 1


def test_a_users_container_that_is_started_later_sees_the_mounts(pod: Pod, data: Path) -> None:
    pod.pachmount("mount", "images")
    pod.user.close()
    pod.user = Namespace("slave", pod.user.env, pod.node)
    assert pod.seen("images") == "a.txt\n"
    pod.pachmount("unmount", "images")
    assert pod.seen() == ""


def test_a_daemon_of_root_serves_a_user_it_was_told_of(new_box: Callable[..., Box]) -> None:
    somebody = Stranger(new_box(start=False))
    pod = Pod(somebody.box, _as_somebody(somebody), PACHMOUNT_SOCKET_USERS=str(UID))
    _mount_read_and_unmount(pod)


def test_both_as_one_ordinary_user(new_box: Callable[..., Box]) -> None:
    somebody = Stranger(new_box(start=False))
    both = _as_somebody(somebody)
    pod = Pod(somebody.box, both, both, PACHMOUNT_ALLOW_OTHER="false")
    pod.node.ok("chown", "-R", str(UID), pod.volume)
    with device_mode(0o666):
        _mount_read_and_unmount(pod)


def _as_somebody(somebody: Stranger) -> list[str]:
    return [*SOMEBODY, somebody.python, "-m", "pachmount"]


def _mount_read_and_unmount(pod: Pod) -> None:
    try:
        directory = pod.box.root / "photos"
        directory.mkdir(mode=0o755)
        (directory / "a.txt").write_text("first")
        pod.start_daemon()
        pod.side.ok(*pod.daemon_program, "import", str(directory), "images")
        pod.pachmount("mount", "images")
        assert pod.user.ok(*SOMEBODY, "cat", pod.volume / "pfs/images/a.txt") == "first"
        pod.pachmount("unmount", "images")
        assert pod.seen() == ""
    finally:
        pod.close()
