"""Where FUSE is missing the daemon starts and serves all but mounts, which fail with a clear error."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pachmount.api import schema
from pachmount.client import DaemonClient
from pachmount.errors import CannotMountError
from tests.integration.box import Box

WITHOUT_DEVICE = """
mkdir dev && mount -t tmpfs -o mode=755 none dev
for node in null zero full random urandom; do touch dev/$node && mount --bind /dev/$node dev/$node; done
mkdir dev/shm && ln -s /proc/self/fd dev/fd
mount --rbind dev /dev
exec "$@"
"""
"""Run by sh in a mount namespace of its own: a /dev without fuse, for a command and the daemon that it starts."""


@contextmanager
def box_without_library() -> Iterator[Box]:
    box = Box({"FUSE_LIBRARY_PATH": "libnothing.so.2"})
    try:
        box.ok("daemon", "start")
        yield box
    finally:
        box.close()


@contextmanager
def box_without_device() -> Iterator[Box]:
    box = Box()
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    start = shlex.join([sys.executable, "-m", "pachmount", "daemon", "start"])
    try:
        command = [*namespace, "sh", "-euc", WITHOUT_DEVICE, "sh", "sh", "-c", f"test ! -e /dev/fuse && {start}"]
        done = subprocess.run(
            command, env=box.env, cwd=box.root, timeout=60, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        yield box
    finally:
        box.close()


@pytest.fixture(scope="module", params=[box_without_library, box_without_device], ids=["library", "device"])
def bare_box(request: pytest.FixtureRequest) -> Iterator[Box]:
    with request.param() as box:
        box.put("images", {"/a.txt": b"one\n", "/dir/b": b"two\n"})
        yield box
        assert not box.log_problems()


@pytest.fixture
def daemon(bare_box: Box) -> Iterator[DaemonClient]:
    with bare_box.daemon() as client:
        yield client


def test_commits_can_be_browsed(daemon: DaemonClient) -> None:
    assert [repo.repo for repo in daemon.repos()] == ["images"]
    assert [entry.path for entry in daemon.files("images").files] == ["/a.txt", "/dir"]
    assert daemon.file("images:/dir/b").size_bytes == 4
    assert b"".join(daemon.content("images:/dir/b")) == b"two\n"


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_only_mounting_fails_and_says_why(daemon: DaemonClient, mode: str) -> None:
    with pytest.raises(CannotMountError) as caught:
        daemon.mount([schema.MountEntry(name="images", project="default", repo="images", mode=mode)])
    assert "libfuse" in str(caught.value) or "/dev/fuse does not exist" in str(caught.value)
    assert caught.value.hint
    status = daemon.status()
    assert (status.mounts, status.cluster.state) == ([], "connected")


def test_showing_datums_fails_and_leaves_datum_mode(daemon: DaemonClient) -> None:
    with pytest.raises(CannotMountError):
        daemon.mount_datums(json.dumps({"pfs": {"repo": "images", "glob": "/*"}}))
    assert daemon.status().datum is None


def test_commands_work(bare_box: Box) -> None:
    assert bare_box.ok("list", "images@master") == "/a.txt\n/dir/\n"
    assert bare_box.ok("status")


def test_files_can_be_had_all_the_same(bare_box: Box) -> None:
    assert bare_box.ok("list", "-r", "images:/**b") == "/dir/b\n"
    assert bare_box.ok("cat", "images:/dir/b", "images:/a.txt") == "two\none\n"
    assert "1 directory, 2 files, 8 B" in bare_box.ok("tree", "images")
    bare_box.ok("get", "images:/a.txt", "got.txt")
    assert (bare_box.root / "got.txt").read_bytes() == b"one\n"
    bare_box.ok("checkout", "images", "copy")
    bare_box.put("images", {"/a.txt": b"three\n"})
    bare_box.ok("checkout", "--update", "copy")
    assert (bare_box.root / "copy/a.txt").read_bytes() == b"three\n"
    code = "import pachmount; print(pachmount.open('images').read_bytes('/dir/b'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare_box.env, cwd=bare_box.root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "b'two\\n'\n"
