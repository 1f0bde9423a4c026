"""`pachmount mount-server` in the place of the original's program: its flags, its end, its starts without a cluster."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pachmount.cli.mount_server import go_flags
from pachmount.pfs.model import RepoRef
from tests.integration.box import Box, Server, wait_until
from tests.integration.mount_server import MountServer
from tests.integration.other_user import needs_root
from tests.integration.rest_client import over_socket, over_tcp

NewBox = Callable[..., Box]
ON_SOCKET = ("--sock-path", "p.sock")
ON_TCP = ("--listen", "127.0.0.1:0", "--no-auth")
FOR_ALL = "allow_other"
MOUNT_SERVER = [sys.executable, "-m", "pachmount", "mount-server"]


class Cluster:
    """A server with the repo `images`, for the mount servers of this module."""

    def __init__(self, box: Box, server: Server) -> None:
        self._box = box
        self.server = server
        self.address = server.address
        self.put({"/dir/f": b"hello"})

    def put(self, files: dict[str, bytes]) -> None:
        self._box.put("images", files, address=self.address)

    def commits(self) -> int:
        return len(self._box.cluster(self.address).list_commits(RepoRef("default", "images")))


@pytest.fixture(scope="module")
def cluster(fuse: None) -> Iterator[Cluster]:
    box = Box()
    try:
        yield Cluster(box, box.server())
    finally:
        box.close()


@pytest.fixture
def box(new_box: NewBox, cluster: Cluster) -> Box:
    """Someone whose daemon finds the cluster of this module."""
    return new_box(start=False, PACHD_ADDRESS=cluster.address)


def mount_images(box: Box, mode: str = "ro") -> None:
    with over_socket(box.root / "p.sock") as rest:
        rest.mount("images", "images", mode=mode)


def options_of_mounts(box: Box) -> list[str]:
    """The options of the super blocks of all mounts of a box."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[-1] for line in lines if f" {box.root}/" in line and "fuse.pachmount" in line]


@contextlib.contextmanager
def busy_with(directory: Path, file: Path) -> Iterator[None]:
    """A process that is in a directory and has a file open."""
    with file.open("rb") as opened:
        process = subprocess.Popen(["sleep", "300"], stdin=opened, cwd=directory)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def refused_start(box: Box, *flags: str, command: list[str] = MOUNT_SERVER, **env: str) -> str:
    """What a mount server that does not start says on standard error."""
    done = subprocess.run(
        [*command, *flags],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env={**box.env, **env},
        cwd=box.root,
        check=False,
    )
    assert done.returncode not in (0, 70), done
    assert done.returncode > 0, done
    assert ("error: " in done.stderr, "Traceback" in done.stderr, done.stdout) == (True, False, ""), done
    box.log_problems()
    return done.stderr


# --- flags


def test_the_flags_of_the_original(box: Box) -> None:
    mount_dir, log = box.root / "elsewhere", box.root / "given.log"
    flags = ["--mount-dir", str(mount_dir), *ON_SOCKET, "--log-file", str(log), "--allow-other"]
    with MountServer(box, *flags) as server:
        assert (server.url, server.sockets) == ("", [box.root / "p.sock"])  # with a socket nothing else is served
        mount_images(box)
        assert (mount_dir / "images" / "dir" / "f").read_bytes() == b"hello"
        assert FOR_ALL in options_of_mounts(box)[0]
        for told in (server.log, log.read_text()):
            assert "mounted default/images@master" in told
        assert server.output.read_bytes() == b""
    assert not (box.root / "p.sock").exists()


@pytest.mark.parametrize(
    ("flag", "sidecar", "shared"),
    [
        ("--allow-other=true", "", True),
        ("--allow-other=false", "1", False),
        ("", "1", True),
        ("", "", False),  # the original's default is true: here nobody else sees the mounts unless that is said
    ],
)
def test_whom_the_mounts_are_for(box: Box, flag: str, sidecar: str, shared: bool) -> None:
    with MountServer(box, *ON_SOCKET, *filter(None, [flag]), SIDECAR_MODE=sidecar):
        mount_images(box)
        assert (FOR_ALL in options_of_mounts(box)[0]) is shared


@pytest.mark.parametrize(("value", "flag"), [("T", "--allow-other"), ("1", "--allow-other"), ("F", "--no-allow-other")])
def test_the_originals_words_for_true_and_false(value: str, flag: str) -> None:
    assert go_flags(["mount-server", f"--allow-other={value}"]) == ["mount-server", flag]
    assert go_flags(["mount", f"--allow-other={value}"]) == ["mount", f"--allow-other={value}"]


def test_positional_arguments_are_a_usage_error(box: Box) -> None:
    said = refused_start(box, "images")
    assert "unexpected extra argument" in said
    assert "pachmount mount-server --help" in said


def test_an_old_client_over_tcp(box: Box) -> None:
    with MountServer(box, *ON_TCP) as server, over_tcp(server.url) as rest:
        assert rest.get("/health").json() == {"status": "running"}
        rest.mount("images", "images")
        assert (box.path("images", "dir", "f")).read_bytes() == b"hello"
        assert rest.unmount("images").status_code == 200


def test_without_no_auth_the_token_is_asked_for(box: Box) -> None:
    token = box.root / "token"
    with MountServer(box, "--listen", "127.0.0.1:0", "--token-file", str(token)) as server:
        with over_tcp(server.url) as rest:
            assert rest.get("/health").status_code == 401
        with over_tcp(server.url, token.read_text().strip()) as rest:
            assert rest.get("/health").status_code == 200


# --- the end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_it_whatever_is_open(box: Box, number: signal.Signals) -> None:
    with MountServer(box, *ON_SOCKET) as server:
        mount_images(box)
        with busy_with(box.path("images", "dir"), box.path("images", "dir", "f")):
            begun = time.monotonic()
            assert server.stop(number) == 0, server.log
            assert time.monotonic() - begun < 10
            assert box.mounts_in_kernel() == []
            assert not box.path("images").exists()


def test_in_sidecar_mode_the_end_commits(box: Box, cluster: Cluster) -> None:
    before = cluster.commits()
    with MountServer(box, *ON_SOCKET, SIDECAR_MODE="1") as server:
        mount_images(box, "rw")
        box.path("images", "new").write_bytes(b"new")
        assert server.stop() == 0
    assert cluster.commits() == before + 1


def test_a_second_signal_ends_it_at_once(new_box: NewBox) -> None:
    box = new_box(start=False)
    own = box.server()
    box.put("images", {"/f": b"x"}, address=own.address)
    with MountServer(box, *ON_SOCKET, SIDECAR_MODE="1", PACHD_ADDRESS=own.address) as server:
        mount_images(box, "rw")
        box.path("images", "new").write_bytes(b"new")
        assert server.process is not None
        own.freeze()
        try:
            server.process.send_signal(signal.SIGTERM)
            time.sleep(1.0)  # one signal that is sent twice counts once
            assert server.process.poll() is None, "it waits for its commit"
            begun = time.monotonic()
            assert server.stop() == 1
            assert time.monotonic() - begun < 2
        finally:
            own.thaw()


# --- what keeps it from starting


def test_a_taken_port(box: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"cannot listen on {where}" in refused_start(box, "--listen", where)
    assert not list(box.process_ids())


@needs_root
def test_without_the_fuse_device(box: Box) -> None:
    hidden = 'mount -t tmpfs none /dev && mknod /dev/null c 1 3 && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", hidden, "sh", *MOUNT_SERVER]
    assert "/dev/fuse does not exist" in refused_start(box, *ON_SOCKET, command=command)
    assert not (box.root / "p.sock").exists()


def test_a_mount_directory_that_is_none(box: Box) -> None:
    file = box.root / "file"
    file.touch()
    for unusable in (file, file / "below"):
        said = refused_start(box, *ON_SOCKET, "--mount-dir", str(unusable))
        assert f"cannot use the mount directory '{unusable}'" in said


def test_another_one_for_the_same_directory(box: Box) -> None:
    with MountServer(box, *ON_SOCKET) as server:
        assert f"pid {server.process.pid if server.process else 0}" in refused_start(box, "--sock-path", "other.sock")
        with over_socket(box.root / "p.sock") as rest:
            assert rest.get("/health").status_code == 200


def test_what_a_killed_one_left_is_no_problem(box: Box) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(box.root / "p.sock"))
    stale.close()
    with MountServer(box, *ON_SOCKET) as server:
        mount_images(box)
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    assert (box.root / "p.sock").exists()
    assert len(box.mounts_in_kernel()) == 1
    with MountServer(box, *ON_SOCKET), over_socket(box.root / "p.sock") as rest:
        assert list(rest.mounted()) == ["images"]
        assert box.path("images", "dir", "f").read_bytes() == b"hello"


# --- without a cluster


def unreachable(box: Box) -> dict[str, Any]:
    """The context file names an address where nothing listens."""
    context = {"pachd_address": "grpc://127.0.0.1:1"}
    Path(box.env["PACH_CONFIG"]).write_text(
        json.dumps({"v2": {"active_context": "gone", "contexts": {"gone": context}}})
    )
    return {"status": 200, "answer": {"cluster_status": "INVALID", "pachd_address": "grpc://127.0.0.1:1"}}


def unusable(box: Box) -> dict[str, Any]:
    """The context file names an address that is none."""
    context = {"pachd_address": "ftp://nowhere"}
    Path(box.env["PACH_CONFIG"]).write_text(json.dumps({"v2": {"active_context": "bad", "contexts": {"bad": context}}}))
    return {"status": 404, "answer": None}


@pytest.mark.parametrize("how", [unreachable, unusable])
def test_it_starts_without_a_cluster_and_is_told_one_later(
    new_box: NewBox, cluster: Cluster, how: Callable[[Box], dict[str, Any]]
) -> None:
    box = new_box(start=False)
    expected = how(box)
    with MountServer(box, *ON_SOCKET), over_socket(box.root / "p.sock") as rest:
        assert rest.get("/health").json() == {"status": "running"}
        config = rest.get("/config")
        assert config.status_code == expected["status"], config.text
        if expected["answer"] is not None:
            assert config.json() == expected["answer"]
        else:
            assert config.text.startswith("not connected to a cluster")
            assert rest.get("/repos").status_code == 404
        answer = rest.put("/config", {"pachd_address": cluster.address})
        assert answer.json() == {"cluster_status": "AUTH_DISABLED", "pachd_address": cluster.address}
        assert [entry["repo"] for entry in rest.get("/repos").json()] == ["images"]
        rest.mount("images", "images")
        assert box.path("images", "dir", "f").read_bytes() == b"hello"
    written = json.loads(Path(box.env["PACH_CONFIG"]).read_text())["v2"]
    assert written["active_context"] == "mount-server"
    assert written["contexts"]["mount-server"]["pachd_address"] == cluster.address


def test_a_cluster_that_comes_later_is_found(new_box: NewBox) -> None:
    box = new_box(start=False)
    own = box.server()
    box.put("images", {"/f": b"x"}, address=own.address)
    own.kill()
    with MountServer(box, *ON_SOCKET, PACHD_ADDRESS=own.address), over_socket(box.root / "p.sock") as rest:
        assert rest.get("/config").json()["cluster_status"] == "INVALID"
        own.start()
        wait_until(lambda: rest.get("/config").json()["cluster_status"] == "AUTH_DISABLED", "the cluster is back")
        rest.mount("images", "images")
        assert os.listdir(box.path("images")) == ["f"]
