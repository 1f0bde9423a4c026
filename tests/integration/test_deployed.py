"""The commands of docs/deploy/pod.yaml, run for real with the paths of the containers replaced."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pachmount.pfs.model import RepoRef
from tests.docs import manifests
from tests.docs.manifests import NOTEBOOK, SIDE
from tests.integration.box import Box, wait_until
from tests.integration.other_user import NOBODY, ask_as_nobody, needs_root

POD = manifests.load("pod.yaml")
CONTAINERS = manifests.containers(POD)


class Running(NamedTuple):
    """A side container's process, and the notebook's home."""

    process: subprocess.Popen[str]
    box: Box
    sockets: Path

    def on_machine(self, word: str) -> str:
        """A word of the manifest with the places of this machine."""
        places = {"/run/pachmount": self.sockets, "/var/lib/pachmount": self.box.root, "/pfs": self.box.root / "pfs"}
        for path, here in places.items():
            if word == path or word.startswith(f"{path}/"):
                return f"{here}{word.removeprefix(path)}"
        return word

    def environment(self, container: str) -> dict[str, str]:
        return {name: self.on_machine(value) for name, value in manifests.environment(CONTAINERS[container]).items()}

    def probe(self, name: str) -> subprocess.CompletedProcess[str]:
        command = [self.on_machine(word) for word in CONTAINERS[SIDE][name]["exec"]["command"]]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


@pytest.fixture
def side(fuse: None) -> Iterator[Running]:
    """The side container's command in its environment, with a cluster at PACHD_ADDRESS."""
    box = Box()
    try:
        with tempfile.TemporaryDirectory(prefix="pm-socket-") as sockets:
            Path(sockets).chmod(0o755)
            running = Running(None, box, Path(sockets))  # type: ignore[arg-type]
            for name in [name for name in box.env if name.startswith(("XDG_", "PACH_"))]:
                del box.env[name]
            box.env |= running.environment(SIDE)
            box.env |= {"PACHD_ADDRESS": box.server().address, "PACHMOUNT_SOCKET_USERS": str(NOBODY)}
            program, *arguments = manifests.command(CONTAINERS[SIDE])
            assert program == "pachmount"
            with subprocess.Popen(
                [sys.executable, "-m", "pachmount", *map(running.on_machine, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
                env=box.env,
                cwd=box.root,
            ) as process:
                yield running._replace(process=process)
                process.kill()
    finally:
        box.close()


def test_the_side_container_serves_the_notebook_and_commits_at_the_end(side: Running) -> None:
    wait_until(lambda: side.probe("startupProbe").returncode == 0, "the startup probe succeeds")
    assert side.probe("livenessProbe").stdout == '{"status":"running"}\n'
    box = side.box
    notebook = {"HOME": str(box.root / "notebook"), **side.environment(NOTEBOOK)}
    away = {name: "" for name in box.env if name.startswith(("PACHMOUNT_", "PACHD_"))} | notebook
    assert f"(pid {side.process.pid}" in box.ok("status", **away)
    repo = box.repo()
    box.put(repo, {"/a": b"1"}, address=box.env["PACHD_ADDRESS"])
    box.ok("mount", repo, "--rw", **away)
    top = Path(notebook["PFS_MOUNT_DIR"]) / repo
    assert (top / "a").read_bytes() == b"1"
    (top / "b").write_bytes(b"2")
    (entry,) = box.mounts_in_kernel()
    assert "allow_other" in _options(entry.mountpoint)
    side.process.send_signal(signal.SIGTERM)
    grace = POD["spec"]["terminationGracePeriodSeconds"]
    assert side.process.wait(grace) == 0
    assert box.mounts_in_kernel() == []
    assert side.probe("livenessProbe").returncode != 0
    cluster = box.cluster(box.env["PACHD_ADDRESS"])
    head = cluster.inspect_branch(RepoRef("default", repo)).head
    assert {entry.path for entry in cluster.walk(head) if not entry.is_dir} == {"/a", "/b"}
    assert box.log_problems() == []


@needs_root
def test_a_daemon_of_another_user_than_the_notebook_s(side: Running) -> None:
    wait_until(lambda: side.probe("startupProbe").returncode == 0, "the startup probe succeeds")
    socket = side.sockets / "pfs.sock"
    assert ask_as_nobody(socket, "GET", "/health") == (200, '{"status":"running"}\n')


def test_a_notebook_never_starts_a_daemon(side: Running) -> None:
    side.process.kill()
    side.process.wait()
    notebook = {"HOME": str(side.box.root / "notebook"), **side.environment(NOTEBOOK)}
    (side.sockets / "pfs.sock").unlink(missing_ok=True)
    assert "not running" in side.box.refused("mount", "images", code=None, **notebook)
    assert not (side.box.root / "notebook").exists()


def _options(mountpoint: str) -> str:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return next(line.split()[3] for line in lines if line.split()[1] == mountpoint)
